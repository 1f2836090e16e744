/*
 * run.h
 *
 * Runs and what they still have to do, as the worker sees them.
 *
 *     queued ──► running ──► done      (customers that could not be read are
 *       ▲           │                   counted in customers_failed)
 *       └─ again ─ failed ◄─┘          nothing could be read at all
 *
 * Progress is kept per customer: a row of run_customer goes when its customer
 * is done, in the same transaction as what was learnt about it.  A run that
 * was cut off goes on with the rows that are left.
 */
#ifndef SPINPANEL_RUN_H
#define SPINPANEL_RUN_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef enum RunKind
{
	RUN_SYNC,
	RUN_ADJUST,
	RUN_NIGHTLY
} RunKind;

typedef struct Run
{
	int64 run_id;
	RunKind kind;
	bool dry_run;
	bool named; /* for one customer that the caller named */
	pg_uuid_t customer_id;
	TimestampTz started_at;
	TimestampTz not_before;
	int32 attempts; /* at listing customers */
	int listed_count;
	int32 *listed; /* accounts whose customers have been taken in */
} Run;

typedef struct RunCustomer
{
	int64 run_id;
	RunKind kind;
	bool dry_run;
	bool named;
	int32 account_id;
	pg_uuid_t customer_id;
	int32 attempts;
	bool adjust; /* auto license adjustment is on */
	TimestampTz run_started_at;
	/* hashes of the last bodies; meaningful where quiet */
	bool quiet; /* no pool waits for a further read */
	bool skus_alone; /* subscribed SKUs will tell whether more has to be read */
	bool has_subscriptions_hash;
	bool has_skus_hash;
	unsigned char subscriptions_hash[16];
	unsigned char skus_hash[16];
} RunCustomer;

/* Starts queued runs that are due; returns the open ones, oldest first. */
extern int spinpanel_run_open(Run **runs, MemoryContext context);

/* As the last spinpanel_run_open() found it. */
extern bool spinpanel_run_is_open(int64 run_id);

/*
 * Takes some of the account's customers in the run's scope in, with their number
 * added to *customers; true when these were the last.  *after, all zero at
 * first, tells where it stands.  failure: they all fail, for this reason.
 * skus_first: audit records were read, so not all subscriptions have to be.
 */
extern bool spinpanel_run_fill(const Run *run, int32 account_id, const char *failure,
							   bool skus_first, pg_uuid_t *after, int limit, uint64 *customers);
/* Listing customers did not succeed this time. */
extern void spinpanel_run_listing_failed(const Run *run, TimestampTz not_before,
										 const char *reason);
/* What is left of this account fails, in all runs. */
extern void spinpanel_run_fail_account(int32 account_id, const char *reason);

/* Customers that are due, most urgent first. */
extern int spinpanel_run_due(int limit, RunCustomer **customers, MemoryContext context);
extern TimestampTz spinpanel_run_next_due(void);

/* wanted: the run still had it to do.  Else nothing may be decided in the run's name. */
extern void spinpanel_run_customers_done(const RunCustomer *const *customers, int count,
										 bool *wanted);
extern void spinpanel_run_customer_later(const RunCustomer *customer, TimestampTz not_before,
										 const char *reason, bool counts);
extern void spinpanel_run_customer_failed(const RunCustomer *customer, const char *reason);
/* Kept in memory until spinpanel_run_finish() or this many are too many. */
extern void spinpanel_run_count_requests(int64 run_id, int64 requests);
extern void spinpanel_run_write_counts(void);

/* Ends the runs that have nothing left; accounts are those in use. */
extern void spinpanel_run_finish(const int32 *accounts, int account_count);

/* In a copy: what the original has begun fails here. */
extern void spinpanel_run_abandon(const char *reason);

/* Starts a night that was scheduled and did not come; says so in the log. */
extern void spinpanel_run_make_up(void);

#endif /* SPINPANEL_RUN_H */
