/*
 * demand.c
 *
 * See demand.h.  Owns the table license_request; must never talk to anybody.
 */
#include "postgres.h"

#include "demand.h"

void
spinpanel_demand_operation_over(const Operation *op, const char *status,
								const char *code, const char *reason, Jsonb *result)
{
}
