/*
 * worker.c
 *
 * The background worker: its start, its loop, its end.
 *
 * One loop, one wait.  It sleeps until a caller's commit wakes it, a socket of
 * libcurl is ready, or a moment that something waits for has come; then it
 * does bounded work and sleeps again.  All state that matters is in tables, so
 * it may end at any point: SIGTERM and errors end the process, the postmaster
 * starts it again, and it goes on with what the tables say.
 *
 * It decides nothing.  What to do is in work_runs.c (runs), work_customer.c (customers),
 * work_requests.c (requests), op_subscription.c, op_user.c and op_order.c (operations) and op_watch.c
 * (what became of them).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "libpq/pqsignal.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/wake.h"
#include "partner/http.h"
#include "partner/partner.h"
#include "state/account.h"
#include "state/archive.h"
#include "state/obligation.h"
#include "state/operation.h"
#include "state/pool_excess.h"
#include "state/request.h"
#include "state/run.h"
#include "state/unit.h"
#include "worker/op_order.h"
#include "worker/op_subscription.h"
#include "worker/op_user.h"
#include "worker/op_watch.h"
#include "worker/work_customer.h"
#include "worker/work_requests.h"
#include "worker/work_runs.h"

/* A worker that cannot start is tried again, but not in a tight loop. */
#define START_DELAY_MS 5000
#define START_DELAY_MAX_MS 60000

/* Looking for work costs a few queries: while busy, not more often. */
#define LOOK_INTERVAL_BUSY_MS 50

#define KEEP_INTERVAL_MS (10 * 60 * 1000)

extern PGDLLEXPORT void spinpanel_worker_main(Datum main_arg);

static void
set_session(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_SESSION);
}

/* Settings that an older server does not have. */
static void
set_session_if_known(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		set_session(name, value);
}

static int64
now_ms(void)
{
	return GetCurrentTimestamp() / 1000;
}

typedef struct Moments
{
	TimestampTz next_due;
} Moments;

static void
do_next_due(void *arg)
{
	Moments *moments = arg;
	TimestampTz a;
	TimestampTz b;

	a = spinpanel_run_next_due();
	b = Min(spinpanel_operation_next_due(), spinpanel_obligation_next_look());
	moments->next_due = Min(Min(a, b), spinpanel_request_next_due());
}

/* Milliseconds until something in the tables becomes due; at most limit. */
static int64
until_due(int64 limit)
{
	Moments moments;
	int64 wait;

	moments.next_due = DT_NOEND;
	if (!spinpanel_unit("looking for the next moment", do_next_due, &moments, UNIT_REPEATABLE) ||
		TIMESTAMP_NOT_FINITE(moments.next_due))
		return limit;
	wait = (moments.next_due - spinpanel_now()) / 1000 + 1;
	return Max(0, Min(wait, limit));
}

static int
operations_active(void)
{
	return spinpanel_fulfil_active() + spinpanel_change_active() + spinpanel_userchange_active() +
		   spinpanel_order_active() + spinpanel_watch_active();
}

static void
report_state(bool looking)
{
	static char last[160];
	char now[160];
	int requests = spinpanel_http_active();

	if (!spinpanel_enabled)
		strlcpy(now, "switched off by spinpanel.enabled", sizeof(now));
	else if (requests > 0 || spinpanel_turn_active() > 0 || operations_active() > 0)
		snprintf(now, sizeof(now),
				 "talking to Partner Center: %d requests, %d customers, %d operations under way",
				 requests, spinpanel_turn_active(), operations_active());
	else
		strlcpy(now, "waiting for work", sizeof(now));

	if (looking || strcmp(last, now) != 0)
	{
		strlcpy(last, now, sizeof(last));
		pgstat_report_activity(requests > 0 ? STATE_RUNNING : STATE_IDLE, last);
	}
}

static void
reload_settings(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

static void
wait_unconnected(int64 timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) timeout_ms,
					 SpinpanelWaitEvent("SpinpanelIdle"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	reload_settings();
}

/*
 * A worker that ended right after its start waits before it connects: 5 seconds
 * at the third start in a row, at most a minute.  A database that is not there
 * then costs one line a minute in the log.
 */
static void
wait_before_connecting(void)
{
	uint32 starts = spinpanel_wake_start();
	int64 delay;
	int64 until;

	if (starts < 2)
		return;
	delay = Min((int64) START_DELAY_MS << Min(starts - 2, 8), START_DELAY_MAX_MS);
	until = now_ms() + delay;
	while (now_ms() < until)
		wait_unconnected(until - now_ms());
}

/*
 * While spinpanel.enabled is off, no connection is held: the database can then
 * be renamed, dropped and used as a template.
 */
static void
wait_until_enabled(void)
{
	while (!spinpanel_enabled)
	{
		spinpanel_wake_heartbeat();
		wait_unconnected(spinpanel_poll_interval);
	}
}

static void
start_session(void)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	spinpanel_wake_announce();
	wait_before_connecting();
	wait_until_enabled();
	BackgroundWorkerInitializeConnection(spinpanel_database, NULL, 0);

	/*
	 * Nobody's role, search path, time-outs or isolation level may bend our
	 * SQL: the owner of a database can set them for it.
	 */
	set_session("role", "none");
	set_session("session_replication_role", "origin");
	set_session("application_name", "spinpanel worker");
	set_session("search_path", "pg_catalog, pg_temp");
	set_session("default_transaction_isolation", "read committed");
	set_session("default_transaction_read_only", "off");
	set_session("statement_timeout", "0");
	set_session("idle_in_transaction_session_timeout", "0");
	set_session_if_known("idle_session_timeout", "0");
	set_session_if_known("transaction_timeout", "0");
	/* Whoever has a lock for longer is a caller, and met again. */
	set_session("lock_timeout", "50ms");
	set_session("timezone", "UTC");
	set_session("datestyle", "ISO, YMD");
	set_session("jit", "off");
	set_session("max_parallel_workers_per_gather", "0");

	/*
	 * All our statements are about one customer or a few rows, and are planned
	 * once.  A plan made while the tables were still empty must not become a
	 * scan of everything later.
	 */
	set_session("plan_cache_mode", "force_generic_plan");
	set_session("enable_seqscan", "off");
	set_session("enable_hashjoin", "off");
	set_session("enable_mergejoin", "off");
	/* From 16 on it could log parameters, and with them a refresh token. */
	set_session("auto_explain.log_min_duration", "-1");

	spinpanel_wake_connected();
	spinpanel_http_start();
	spinpanel_partner_start(&spinpanel_account_hooks);
}

/*
 * Partner Center's text is UTF-8, and outside a transaction nothing can be
 * converted.  CREATE EXTENSION refuses other databases; one that was restored
 * some other way must not make the worker die again and again.
 */
static bool
can_work_here(void)
{
	if (GetDatabaseEncoding() == PG_UTF8)
		return true;
	spinpanel_wake_idle("the encoding of the database is not UTF8");
	ereport(LOG, (errmsg("spinpanel worker idles: the encoding of database \"%s\" is %s, not UTF8",
						 spinpanel_database, GetDatabaseEncodingName())));
	return false;
}

/*
 * Ends the process, so that the database is free; the postmaster starts it
 * again, and it waits without a connection until it is enabled.  What was
 * under way is in tables.
 */
static void
leave_while_disabled(void)
{
	ereport(LOG, (errmsg("spinpanel worker leaves database \"%s\": spinpanel.enabled is off",
						 spinpanel_database)));
	spinpanel_wake_rest();
	proc_exit(1);
}

void
spinpanel_worker_main(Datum main_arg)
{
	MemoryContext loop_context;
	WaitEventSet *wait_set;
	int64 next_look = 0; /* real clock, ms */
	int64 next_keep = 0;
	bool refresh = true;
	bool was_active = false;
	bool able;
	uint32 idle_event;
	uint32 busy_event;

	start_session();
	able = can_work_here();
	idle_event = SpinpanelWaitEvent("SpinpanelIdle");
	busy_event = SpinpanelWaitEvent("SpinpanelPartnerCenter");
	loop_context =
		AllocSetContextCreate(TopMemoryContext, "spinpanel loop", ALLOCSET_DEFAULT_SIZES);
	wait_set = SpinpanelCreateWaitEventSet(3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, spinpanel_http_descriptor(), NULL, NULL);

	ereport(LOG, (errmsg("spinpanel worker %s started in database \"%s\"", SPINPANEL_VERSION,
						 spinpanel_database)));

	for (;;)
	{
		WaitEvent event;
		int64 timeout;
		long until;
		bool active;
		bool looked = false;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(loop_context);
		MemoryContextSwitchTo(loop_context);
		spinpanel_wake_heartbeat();

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			next_look = 0;
			refresh = true;
		}
		if (spinpanel_wake_taken())
		{
			next_look = 0;
			refresh = true;
			spinpanel_fulfil_woken();
		}

		spinpanel_http_work();

		/* What is on its way is waited for; nothing new is begun. */
		if (!spinpanel_enabled && spinpanel_http_active() == 0)
			leave_while_disabled();

		if (spinpanel_enabled && able)
		{
			if (now_ms() >= next_look)
			{
				looked = true;
				next_look = now_ms() + spinpanel_poll_interval;
				if (spinpanel_unit_ready())
				{
					if (refresh || !was_active)
						(void) spinpanel_account_refresh();
					refresh = false;
					spinpanel_night_work();
					spinpanel_turn_look();
					spinpanel_fulfil_work();
					spinpanel_change_work();
					spinpanel_watch_work();
					spinpanel_userchange_work();
					spinpanel_order_work();
					if (spinpanel_pool_excess_refresh(was_active))
						next_look = 0;
					if (now_ms() >= next_keep)
					{
						spinpanel_keep_short();
						next_keep = now_ms() + KEEP_INTERVAL_MS;
					}
				}
			}
			else
				spinpanel_turn_work();
		}
		if (spinpanel_unit_extension_changed())
		{
			/* Ids in memory mean nothing to other tables. */
			ereport(LOG, (errmsg("spinpanel worker starts afresh: the extension was dropped")));
			spinpanel_turn_forget();
			spinpanel_fulfil_forget();
			spinpanel_change_forget();
			spinpanel_watch_forget();
			spinpanel_userchange_forget();
			spinpanel_order_forget();
			spinpanel_night_forget();
			spinpanel_account_forget();
			spinpanel_unit_forget_extension();
			refresh = true;
			next_look = now_ms() + LOOK_INTERVAL_BUSY_MS;
		}

		/* How long to sleep. */
		active =
			spinpanel_turn_active() > 0 || operations_active() > 0 || spinpanel_night_active() > 0;
		if (!active && looked && spinpanel_enabled)
			next_look = Min(next_look,
							now_ms() + spinpanel_fulfil_rest(until_due(spinpanel_poll_interval)));
		else if (active)
			next_look = Min(next_look, now_ms() + LOOK_INTERVAL_BUSY_MS);
		else if (was_active)
			next_look = 0; /* something ended: is there more? */
		was_active = active;

		timeout = spinpanel_enabled ? Max(0, next_look - now_ms()) : spinpanel_poll_interval;
		if (spinpanel_enabled)
		{
			until = spinpanel_partner_work();
			if (until >= 0)
				timeout = Min(timeout, until);
		}
		until = spinpanel_http_timeout();
		if (until >= 0)
			timeout = Min(timeout, until);

		report_state(looked);
		(void) WaitEventSetWait(wait_set, (long) timeout, &event, 1,
								spinpanel_http_active() > 0 ? busy_event : idle_event);
	}
}
