/*
 * credential.h
 *
 * The credential file of an account: a JSON file on the server, outside the
 * data directory, {"client_secret": ..., "refresh_token": ...}.  Used by
 * connect_account in a backend and by the worker.
 */
#ifndef SPINPANEL_CREDENTIAL_H
#define SPINPANEL_CREDENTIAL_H

#include "postgres.h"

#include "utils/timestamp.h"

typedef struct SpinpanelCredential
{
	char *client_secret; /* palloc'd */
	char *refresh_token; /* palloc'd; NULL = app-only access */
	TimestampTz modified_at;
	bool readable_by_all; /* mode: others may read it */
} SpinpanelCredential;

/*
 * False: *sqlstate and error (in words, without anything of the content) say
 * why.  Does not throw for anything about the file.  Wipe after use.
 */
extern bool spinpanel_credential_read(const char *path, SpinpanelCredential *credential,
									  int *sqlstate, char *error, size_t error_size);
/* Overwrites and frees the secrets. */
extern void spinpanel_credential_wipe(SpinpanelCredential *credential);

/* For connect_account: throws where the file cannot be used.  Returns whether
 * it gives access on behalf of a user (it holds a refresh token). */
extern bool spinpanel_credential_check(const char *path);

/* Changes whenever the file does; 0 = no file. */
extern uint64 spinpanel_credential_stamp(const char *path);

/* pfree for text that holds a secret; NULL is ignored. */
extern void spinpanel_wipe_text(char *text);

#endif /* SPINPANEL_CREDENTIAL_H */
