/*
 * unit.c
 *
 * Transactions of the worker.  Every unit first takes a share lock on the
 * extension itself, without waiting: whoever drops or updates the extension
 * holds that lock exclusively before touching a table, so neither side can
 * deadlock with the other, and no unit queues behind a long DROP.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/wake.h"
#include "state/unit.h"

/* Versions of the SQL side that this binary can drive; a newer binary with an
 * older SQL side is normal between package upgrade and ALTER EXTENSION. */
static const char *const versions_driven[] = { "1.0" };

static Oid extension_oid = InvalidOid; /* the one our memory belongs to */
static bool extension_changed = false;
static bool idle_reported = false;
static char last_error[256];

typedef struct UnitContext
{
	const char *activity;
} UnitContext;

static void
unit_error_context(void *arg)
{
	errcontext("spinpanel worker, while %s", ((UnitContext *) arg)->activity);
}

static Oid
find_extension(char *version, Size size, bool *in_place)
{
	Relation rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;
	Oid oid = InvalidOid;

	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("spinpanel"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum datum;

		oid = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*in_place = get_namespace_oid("spinpanel", true) ==
					((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		datum = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);
		if (!isnull)
			strlcpy(version, TextDatumGetCString(datum), size);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return oid;
}

/* Told once in the log, not at every look; check_setup() shows it. */
static void
idle(const char *reason, const char *hint)
{
	spinpanel_wake_idle(reason);
	if (idle_reported)
		return;
	idle_reported = true;
	ereport(LOG, (errmsg("spinpanel worker idles: %s", reason), errhint("%s", hint)));
}

/* In a transaction.  Locks the extension until its end. */
static bool
lock_extension(void)
{
	char version[64] = "";
	bool in_place = false;
	Oid oid = find_extension(version, sizeof(version), &in_place);
	int i;

	if (OidIsValid(extension_oid) && oid != extension_oid)
	{
		extension_changed = true;
		return false;
	}
	if (!OidIsValid(oid))
		return false;
	if (!ConditionalLockDatabaseObject(ExtensionRelationId, oid, 0, AccessShareLock))
		return false;
	/* It may have been dropped before we got the lock. */
	if (find_extension(version, sizeof(version), &in_place) != oid)
		return false;

	if (!in_place)
	{
		idle("the schema of the extension is no longer called \"spinpanel\"",
			 "Give the schema its name back: ALTER SCHEMA ... RENAME TO spinpanel.");
		return false;
	}

	for (i = 0; i < (int) lengthof(versions_driven); i++)
	{
		if (strcmp(version, versions_driven[i]) == 0)
		{
			extension_oid = oid;
			idle_reported = false;
			spinpanel_wake_idle(NULL);
			return true;
		}
	}
	idle(
		psprintf("this library cannot drive version %s of the extension", version),
		"Run ALTER EXTENSION spinpanel UPDATE, or restart the server after installing the matching library.");
	return false;
}

static void
begin_unit(UnitDurability durability)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();

	/*
	 * What is sent to Partner Center must never be forgotten: such commits
	 * wait for the disk and for synchronous standbys, whatever the server's
	 * setting.  A stronger setting is left alone.  What was merely read can be
	 * read again.
	 */
	if (durability == UNIT_REPEATABLE)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	else if (synchronous_commit < SYNCHRONOUS_COMMIT_ON)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

static void
end_unit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

bool
spinpanel_unit(const char *activity, UnitFunction function, void *arg, UnitDurability durability)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorContextCallback callback;
	UnitContext context;
	volatile bool committed = false;

	last_error[0] = '\0';
	context.activity = activity;
	callback.callback = unit_error_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	pgstat_report_activity(STATE_RUNNING, activity);
	PG_TRY();
	{
		begin_unit(durability);
		if (lock_extension())
		{
			function(arg);
			end_unit();
			committed = true;
			spinpanel_wake_unit_over(activity, NULL);
		}
		else
		{
			end_unit();
			/* Nothing to work with is no failure of the start. */
			spinpanel_wake_rest();
		}
	}
	PG_CATCH();
	{
		ErrorData *error;

		/* A message of ours never holds a secret; see json.h and token.c. */
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		strlcpy(last_error, error->message ? error->message : "unknown error", sizeof(last_error));
		FreeErrorData(error);
		spinpanel_wake_unit_over(activity, last_error);

		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();

	/* Committing leaves us in TopMemoryContext: that would leak for ever. */
	MemoryContextSwitchTo(caller);
	error_context_stack = callback.previous;
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return committed;
}

static void
nothing(void *arg)
{
}

bool
spinpanel_unit_ready(void)
{
	return spinpanel_unit("looking for the extension", nothing, NULL, UNIT_REPEATABLE);
}

bool
spinpanel_unit_extension_changed(void)
{
	return extension_changed;
}

void
spinpanel_unit_forget_extension(void)
{
	extension_oid = InvalidOid;
	extension_changed = false;
}

const char *
spinpanel_unit_error(void)
{
	return last_error;
}
