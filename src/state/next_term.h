/*
 * next_term.h
 *
 * What a subscription's JSON says of its next term.
 */
#ifndef SPINPANEL_NEXT_TERM_H
#define SPINPANEL_NEXT_TERM_H

#include "postgres.h"

#include "utils/jsonb.h"

/* Larger numbers are no seats but a mistake of somebody's. */
#define NEXT_TERM_MAX_QUANTITY 1000000000

typedef struct NextTerm
{
	/* given: the running term */
	const char *product; /* productId:skuId; NULL where unknown */
	const char *term_duration;
	const char *billing_cycle;
	int32 running_quantity;
	/* read */
	int32 quantity; /* -1 = nothing is scheduled */
	bool other_product;
	bool cancel; /* an explicit cancel is scheduled */
} NextTerm;

extern void spinpanel_next_term_read(JsonbContainer *item, NextTerm *next);

#endif /* SPINPANEL_NEXT_TERM_H */
