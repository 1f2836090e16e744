/*
 * keep.h
 *
 * Keeping the live tables short.
 */
#ifndef SPINPANEL_KEEP_H
#define SPINPANEL_KEEP_H

/* Moves what is finished and older than spinpanel.retention to the history, in
 * small transactions. */
extern void spinpanel_keep_short(void);

#endif							/* SPINPANEL_KEEP_H */
