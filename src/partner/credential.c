/*
 * credential.c
 *
 * Reads the credential file of an account.  Must never quote anything of the
 * content in a message, accept a file in the data directory (where base
 * backups and pg_read_file reach it), or leave the text in memory that it
 * freed.
 *
 * What jsonb_in copies on its way is freed but not wiped; it stays in the
 * process's own memory.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/jsonb.h"

#include "base/json.h"
#include "partner/credential.h"

/* A secret and a refresh token are a few kilobytes. */
#define FILE_SIZE_MAX (64 * 1024)

void
spinpanel_wipe_text(char *text)
{
	if (text == NULL)
		return;
	explicit_bzero(text, strlen(text));
	pfree(text);
}

void
spinpanel_credential_wipe(SpinpanelCredential *credential)
{
	spinpanel_wipe_text(credential->client_secret);
	spinpanel_wipe_text(credential->refresh_token);
	credential->client_secret = NULL;
	credential->refresh_token = NULL;
}

/* Both resolved, so that neither a symbolic link nor "/../" hides it. */
static bool
is_inside_data_directory(const char *resolved_path)
{
	char data_directory[PATH_MAX];
	size_t length;

	if (realpath(DataDir, data_directory) == NULL)
		return true; /* cannot be told: refuse */
	length = strlen(data_directory);
	return strncmp(resolved_path, data_directory, length) == 0 &&
		   (resolved_path[length] == '/' || resolved_path[length] == '\0');
}

/*
 * The file's text in buffer (FILE_SIZE_MAX + 1 bytes).  Nothing between open
 * and close may throw.
 */
static bool
read_file(const char *path, char *buffer, size_t *length, SpinpanelCredential *credential,
		  int *sqlstate, char *error, size_t error_size)
{
	char resolved[PATH_MAX];
	struct stat opened;
	struct stat named;
	ssize_t count = 0;
	int descriptor;

	*length = 0;
	if (path == NULL || !is_absolute_path(path))
	{
		*sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
		snprintf(error, error_size, "the credential file must be given by its absolute path");
		return false;
	}
	if (realpath(path, resolved) == NULL)
	{
		*sqlstate = errno == ENOENT   ? ERRCODE_UNDEFINED_FILE
					: errno == EACCES ? ERRCODE_INSUFFICIENT_PRIVILEGE
									  : ERRCODE_IO_ERROR;
		snprintf(error, error_size, "could not open credential file \"%s\": %s", path,
				 strerror(errno));
		return false;
	}
	if (is_inside_data_directory(resolved))
	{
		*sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
		snprintf(error, error_size, "credential file \"%s\" lies inside the data directory", path);
		return false;
	}

	/* Without O_NONBLOCK the open of a named pipe would wait for a writer. */
	descriptor = open(resolved, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	if (descriptor < 0)
	{
		*sqlstate = errno == EACCES   ? ERRCODE_INSUFFICIENT_PRIVILEGE
					: errno == ENOENT ? ERRCODE_UNDEFINED_FILE
									  : ERRCODE_IO_ERROR;
		snprintf(error, error_size, "could not open credential file \"%s\": %s", path,
				 strerror(errno));
		return false;
	}
	/* The file that was opened must be the one that was judged. */
	if (fstat(descriptor, &opened) < 0 || lstat(resolved, &named) < 0 ||
		opened.st_dev != named.st_dev || opened.st_ino != named.st_ino || !S_ISREG(opened.st_mode))
	{
		close(descriptor);
		*sqlstate = ERRCODE_WRONG_OBJECT_TYPE;
		snprintf(error, error_size, "credential file \"%s\" is not a regular file", path);
		return false;
	}
	/* Who may write it decides whom we trust: as PostgreSQL asks of key files. */
	if (opened.st_uid != geteuid() && opened.st_uid != 0)
	{
		close(descriptor);
		*sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
		snprintf(
			error, error_size,
			"credential file \"%s\" must be owned by the server's operating system user or root",
			path);
		return false;
	}
	if (opened.st_mode & (S_IWGRP | S_IWOTH))
	{
		close(descriptor);
		*sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
		snprintf(error, error_size,
				 "credential file \"%s\" can be written by other users (mode %04o): chmod 600 %s",
				 path, (unsigned) (opened.st_mode & 07777), path);
		return false;
	}
	if (opened.st_size > FILE_SIZE_MAX)
	{
		close(descriptor);
		*sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		snprintf(error, error_size, "credential file \"%s\" is larger than %d bytes", path,
				 FILE_SIZE_MAX);
		return false;
	}
	/* One more than allowed: the file may have grown since. */
	while (*length <= FILE_SIZE_MAX)
	{
		count = read(descriptor, buffer + *length, FILE_SIZE_MAX + 1 - *length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		*length += count;
	}
	if (count < 0)
	{
		int saved = errno;

		close(descriptor);
		*sqlstate = ERRCODE_IO_ERROR;
		snprintf(error, error_size, "could not read credential file \"%s\": %s", path,
				 strerror(saved));
		return false;
	}
	close(descriptor);
	if (*length > FILE_SIZE_MAX)
	{
		*sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		snprintf(error, error_size, "credential file \"%s\" is larger than %d bytes", path,
				 FILE_SIZE_MAX);
		return false;
	}
	credential->modified_at = time_t_to_timestamptz(opened.st_mtime);
	credential->readable_by_all = (opened.st_mode & S_IROTH) != 0;
	return true;
}

bool
spinpanel_credential_read(const char *path, SpinpanelCredential *credential, int *sqlstate,
						  char *error, size_t error_size)
{
	char *buffer = palloc(FILE_SIZE_MAX + 1);
	size_t length;
	Jsonb *json;

	memset(credential, 0, sizeof(*credential));
	error[0] = '\0';
	if (!read_file(path, buffer, &length, credential, sqlstate, error, error_size))
	{
		explicit_bzero(buffer, length);
		pfree(buffer);
		return false;
	}

	json = spinpanel_json_parse(buffer, length);
	explicit_bzero(buffer, length);
	pfree(buffer);
	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
	{
		*sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
		snprintf(error, error_size, "credential file \"%s\" is not a JSON object", path);
	}
	else
	{
		credential->client_secret = spinpanel_json_text(&json->root, "client_secret");
		credential->refresh_token = spinpanel_json_text(&json->root, "refresh_token");
		if (credential->refresh_token != NULL && credential->refresh_token[0] == '\0')
		{
			pfree(credential->refresh_token);
			credential->refresh_token = NULL;
		}
		if (credential->client_secret == NULL || credential->client_secret[0] == '\0')
		{
			*sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
			snprintf(error, error_size, "credential file \"%s\" has no member \"client_secret\"",
					 path);
		}
	}
	if (json != NULL)
	{
		explicit_bzero(json, VARSIZE(json));
		pfree(json);
	}
	if (error[0] != '\0')
	{
		spinpanel_credential_wipe(credential);
		return false;
	}
	return true;
}

bool
spinpanel_credential_check(const char *path)
{
	SpinpanelCredential credential;
	char error[1024];
	int sqlstate = ERRCODE_INTERNAL_ERROR;
	bool has_user;

	if (!spinpanel_credential_read(path, &credential, &sqlstate, error, sizeof(error)))
		ereport(ERROR, (errcode(sqlstate), errmsg("%s", error),
						errhint("The file lies on the server, outside the data directory, "
								"belongs to the server's operating system user, is written by "
								"nobody else, and holds "
								"{\"client_secret\": \"...\", \"refresh_token\": \"...\"}.")));
	has_user = credential.refresh_token != NULL;
	spinpanel_credential_wipe(&credential);
	return has_user;
}

uint64
spinpanel_credential_stamp(const char *path)
{
	struct stat file;
	uint64 stamp[6];

	if (path == NULL || stat(path, &file) < 0)
		return 0;
	memset(stamp, 0, sizeof(stamp));
	stamp[0] = file.st_dev;
	stamp[1] = file.st_ino;
	stamp[2] = file.st_size;
	stamp[3] = file.st_mtim.tv_sec;
	stamp[4] = file.st_mtim.tv_nsec;
	stamp[5] = file.st_mode;
	return hash_bytes_extended((unsigned char *) stamp, sizeof(stamp), 0) | 1;
}
