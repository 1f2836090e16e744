/*
 * seal.h
 *
 * Encrypts what must lie in a table and be of no use to whoever reads the
 * table: the key follows from the account's client secret, which is in a file
 * on the server and in no database, replica, dump or backup of one.
 */
#ifndef SPINPANEL_SEAL_H
#define SPINPANEL_SEAL_H

#include "postgres.h"

/*
 * about says what it is and whose; it has to be the same when it is opened.
 * NULL: the library failed.  palloc'd.
 */
extern bytea *spinpanel_seal(const char *client_secret, const char *about, const char *text);
/* NULL: another secret, another about, or somebody altered it.  palloc'd; wipe it. */
extern char *spinpanel_unseal(const char *client_secret, const char *about, const bytea *sealed);

/*
 * 43 letters, digits, "-" and "_" that follow from the secret, about and salt,
 * and that nobody can tell who lacks the secret.  NULL: the library failed.
 */
extern char *spinpanel_derive(const char *client_secret, const char *about, const char *salt);
/* base64url(sha256(text)); NULL: the library failed. */
extern char *spinpanel_digest(const char *text);
/* 43 random letters; NULL: no randomness. */
extern char *spinpanel_random_text(void);

#endif /* SPINPANEL_SEAL_H */
