/*
 * wait.h
 *
 * Waiting for a row that the worker brings to an end.
 */
#ifndef SPINPANEL_WAIT_H
#define SPINPANEL_WAIT_H

#include "postgres.h"

#include "fmgr.h"

#include "state/statement.h"

/* The queries' columns: the whole row, whether it has ended, its xmin, and (perhaps)
 * its xmax. */
typedef struct Awaited
{
	StateQuery *query;
	const char *what; /* "run" */
	StateQuery *archived; /* where it lies after the retention; NULL = nowhere */
} Awaited;

/*
 * The SQL function (id bigint, timeout interval): the row, ended or, when the
 * time is over, as it stands.  Throws 55000 for a row of this transaction and
 * above READ COMMITTED, P0002 for one that is not there.
 */
extern Datum spinpanel_await(FunctionCallInfo fcinfo, const Awaited *awaited,
							 const char *id_parameter);

#endif /* SPINPANEL_WAIT_H */
