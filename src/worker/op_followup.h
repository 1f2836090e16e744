/*
 * op_followup.h
 *
 * What follows from a change once its outcome is known.  All functions run
 * inside a unit, after the reads have been taken into the mirror.
 */
#ifndef SPINPANEL_OP_FOLLOWUP_H
#define SPINPANEL_OP_FOLLOWUP_H

#include "postgres.h"

#include "state/operation.h"

/* Written together with the change: operations that set again what Partner
 * Center is known to wipe with it. */
extern void spinpanel_op_followup_prepare(const Operation *operation, Jsonb *subscription);

/* The audit records show that it was carried out. */
extern bool spinpanel_op_followup_on_record(const Operation *operation, Jsonb *audit);

/* Partner Center may say yes to it and not do it; that is seen to here. */
extern bool spinpanel_op_followup_may_lack(const Operation *operation);

/* The change is in force.  subscription: as read back; answer: of the change
 * itself, or NULL; audit: the collection of audit records, or NULL. */
extern void spinpanel_op_followup_done(Operation *operation, Jsonb *subscription, Jsonb *answer,
									   bool licenses_known, Jsonb *audit, const char *remark);

/* Audit records of the customer from that day on, as the log wants it asked. */
extern char *spinpanel_op_followup_audit_path(const pg_uuid_t *customer_id, TimestampTz from);

/* Later, when the audit records are read: false = ours is not among them yet.
 * *undone: seats of somebody else that it undid.  A schedule of theirs that it
 * wiped is set again.  subscription: as it is now, or NULL. */
extern bool spinpanel_op_followup_audited(const Operation *operation, Jsonb *subscription,
										  Jsonb *audit, int32 *undone);

/* It did not come to the change: status refused, failed or cancelled. */
extern void spinpanel_op_followup_over(Operation *operation, const char *status, int http_status,
									   const char *code, const char *error, const Jsonb *answer);

#endif /* SPINPANEL_OP_FOLLOWUP_H */
