/*
 * seal.c
 *
 * AES-256-GCM with a key that HKDF-SHA256 derives from the client secret and a
 * random salt, by OpenSSL's libcrypto; the only file that knows it.  A client
 * secret is forty random characters that Microsoft made up, so that a function
 * that is slow on purpose would add nothing.
 *
 * Sealed: one byte 1, the salt, the nonce, the tag, the text.  "about" is
 * authenticated with it: what was sealed for one account opens for no other.
 *
 * Keys must never outlive a call here, and no message may tell more than that
 * something could not be opened.
 */
#include "postgres.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "base/compat.h"
#include "partner/seal.h"

#define VERSION 1
#define SALT_LENGTH 16
#define NONCE_LENGTH 12
#define TAG_LENGTH 16
#define KEY_LENGTH 32
#define HEAD_LENGTH (1 + SALT_LENGTH + NONCE_LENGTH + TAG_LENGTH)
#define TEXT_MAX (256 * 1024)

static bool
derive(const char *client_secret, const void *salt, size_t salt_length, const char *info,
	   unsigned char *key)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	size_t length = KEY_LENGTH;
	bool done;

	done = context != NULL && EVP_PKEY_derive_init(context) > 0 &&
		   EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
		   EVP_PKEY_CTX_set1_hkdf_salt(context, salt, (int) salt_length) > 0 &&
		   EVP_PKEY_CTX_set1_hkdf_key(context, (const unsigned char *) client_secret,
									  (int) strlen(client_secret)) > 0 &&
		   EVP_PKEY_CTX_add1_hkdf_info(context, (const unsigned char *) info, (int) strlen(info)) >
			   0 &&
		   EVP_PKEY_derive(context, key, &length) > 0 && length == KEY_LENGTH;
	EVP_PKEY_CTX_free(context);
	return done;
}

bytea *
spinpanel_seal(const char *client_secret, const char *about, const char *text)
{
	size_t length = strlen(text);
	bytea *sealed;
	unsigned char *at;
	unsigned char key[KEY_LENGTH];
	EVP_CIPHER_CTX *context;
	int n;
	bool done;

	if (length > TEXT_MAX)
		return NULL;
	sealed = palloc0(VARHDRSZ + HEAD_LENGTH + length);
	SET_VARSIZE(sealed, VARHDRSZ + HEAD_LENGTH + length);
	at = (unsigned char *) VARDATA(sealed);
	at[0] = VERSION;
	if (!pg_strong_random(at + 1, SALT_LENGTH + NONCE_LENGTH) ||
		!derive(client_secret, at + 1, SALT_LENGTH, "spinpanel key 1", key))
	{
		explicit_bzero(key, sizeof(key));
		pfree(sealed);
		return NULL;
	}
	context = EVP_CIPHER_CTX_new();
	done = context != NULL &&
		   EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, at + 1 + SALT_LENGTH) > 0 &&
		   EVP_EncryptUpdate(context, NULL, &n, (const unsigned char *) about,
							 (int) strlen(about)) > 0 &&
		   EVP_EncryptUpdate(context, at + HEAD_LENGTH, &n, (const unsigned char *) text,
							 (int) length) > 0 &&
		   n == (int) length && EVP_EncryptFinal_ex(context, at + HEAD_LENGTH + length, &n) > 0 &&
		   EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_LENGTH,
							   at + 1 + SALT_LENGTH + NONCE_LENGTH) > 0;
	EVP_CIPHER_CTX_free(context);
	explicit_bzero(key, sizeof(key));
	if (!done)
	{
		pfree(sealed);
		return NULL;
	}
	return sealed;
}

char *
spinpanel_unseal(const char *client_secret, const char *about, const bytea *sealed)
{
	size_t size = VARSIZE_ANY_EXHDR(sealed);
	unsigned char *at = (unsigned char *) VARDATA_ANY(sealed);
	size_t length = size - HEAD_LENGTH;
	unsigned char key[KEY_LENGTH];
	EVP_CIPHER_CTX *context;
	char *text;
	int n;
	bool done;

	if (size < HEAD_LENGTH || length > TEXT_MAX || at[0] != VERSION)
		return NULL;
	if (!derive(client_secret, at + 1, SALT_LENGTH, "spinpanel key 1", key))
	{
		explicit_bzero(key, sizeof(key));
		return NULL;
	}
	text = palloc0(length + 1);
	context = EVP_CIPHER_CTX_new();
	done = context != NULL &&
		   EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, at + 1 + SALT_LENGTH) > 0 &&
		   EVP_DecryptUpdate(context, NULL, &n, (const unsigned char *) about,
							 (int) strlen(about)) > 0 &&
		   EVP_DecryptUpdate(context, (unsigned char *) text, &n, at + HEAD_LENGTH, (int) length) >
			   0 &&
		   n == (int) length &&
		   EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_LENGTH,
							   at + 1 + SALT_LENGTH + NONCE_LENGTH) > 0 &&
		   EVP_DecryptFinal_ex(context, (unsigned char *) text + length, &n) > 0;
	EVP_CIPHER_CTX_free(context);
	explicit_bzero(key, sizeof(key));
	if (!done || strlen(text) != length)
	{
		explicit_bzero(text, length + 1);
		pfree(text);
		return NULL;
	}
	return text;
}

static char *
base64url(const unsigned char *bytes, int length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char *text = palloc0(length * 4 / 3 + 4);
	char *at = text;
	uint32 bits = 0;
	int count = 0;
	int i;

	for (i = 0; i < length; i++)
	{
		bits = (bits << 8) | bytes[i];
		for (count += 8; count >= 6; count -= 6)
			*at++ = digits[(bits >> (count - 6)) & 63];
	}
	if (count > 0)
		*at++ = digits[(bits << (6 - count)) & 63];
	*at = '\0';
	return text;
}

char *
spinpanel_derive(const char *client_secret, const char *about, const char *salt)
{
	unsigned char key[KEY_LENGTH];
	char *text = NULL;

	if (derive(client_secret, salt, strlen(salt), about, key))
		text = base64url(key, KEY_LENGTH);
	explicit_bzero(key, sizeof(key));
	return text;
}

char *
spinpanel_digest(const char *text)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length;

	if (EVP_Digest(text, strlen(text), digest, &length, EVP_sha256(), NULL) <= 0)
		return NULL;
	return base64url(digest, (int) length);
}

char *
spinpanel_random_text(void)
{
	unsigned char bytes[KEY_LENGTH];

	if (!pg_strong_random(bytes, sizeof(bytes)))
		return NULL;
	return base64url(bytes, sizeof(bytes));
}
