/*
 * spinpanel.c
 *
 * What happens when the library is loaded: settings, shared memory and the
 * registration of the worker.  Nothing else; in particular no network and no
 * catalog access.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/wake.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	BackgroundWorker worker;

	/* Before the preload check, so that SHOW works in any session. */
	spinpanel_settings_define(process_shared_preload_libraries_in_progress);

	if (!process_shared_preload_libraries_in_progress)
		return;

	spinpanel_wake_init();

	if (IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;

	/*
	 * On a standby the worker does not run, and starts at promotion: that is
	 * how a promoted standby goes on by itself.
	 */
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	/* A worker that cannot start waits by itself before it connects. */
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "spinpanel", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "spinpanel_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "spinpanel worker (%s)", spinpanel_database);
	strlcpy(worker.bgw_type, "spinpanel worker", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}
