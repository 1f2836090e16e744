/*
 * plan_choice.c
 *
 * Of the choices that the rules allow, the one that removes most seat-days;
 * ties: fewest changes, earliest effect, youngest subscription.  Owns the
 * search and nothing else: what a subscription can give, and at what gain, it
 * is told by plan_legacy.c and plan_nce.c.
 *
 * Since supply only ever falls (increases are not relied on), a plan is within
 * the floor at all times exactly when what lasts is; so two numbers bind the
 * subscriptions of a pool together: seats that may go for good (slack) and
 * seats that may go although a cool-down runs (settled).  The search fills a
 * table over both, subscription by subscription: exact, and small for the
 * pools of this world.  Where it would be large (thousands of seats to give
 * over many subscriptions) subscriptions share what may go two at a time, until
 * no two can do better; the result is as safe, but perhaps not the very best.
 */
#include <stdlib.h>
#include <string.h>

#include "decide/plan_internal.h"

/* Bounds of the table: some 20 MB and a few hundredths of a second */
#ifndef MAX_CELLS
#define MAX_CELLS 200000
#define MAX_WORK INT64_C(5000000)
#endif

typedef struct Cell
{
	int64_t gain;
	int64_t youth;
	int64_t sooner;
	int32_t changes; /* -1: no such choice */
	int32_t left_taken; /* the left child's share */
	int32_t left_cool;
	int32_t cool; /* what the two children share */
} Cell;

typedef struct Node
{
	Cell *cells;
	int32_t left; /* -1: a leaf */
	int32_t right;
} Node;

typedef struct Search
{
	PlanScene *scene;
	int32_t taken_size; /* 0 .. slack */
	int32_t cool_size; /* 0 .. settled, or 1 where it does not bind */
	int64_t cool; /* what the one cell stands for then */
	Node *nodes;
	int32_t node_count;
	int64_t work; /* steps done: bounded */
} Search;

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

bool
spinpanel_plan_leaf_choice(const PlanScene *scene, const PlanLeaf *leaf, int64_t taken,
						   int64_t cool, PlanChoice *choice)
{
	if (leaf->kind == LEAF_NCE)
		return spinpanel_plan_nce_choice(scene, leaf, taken, cool, choice);
	return spinpanel_plan_legacy_choice(scene, leaf, taken, cool, choice);
}

/*
 * Legacy subscriptions, and duplicates under new commerce, give youngest
 * first before anything else is compared; the rules say so.
 */
static bool
better(const Cell *a, const Cell *b, bool youngest_first)
{
	if (b->changes < 0)
		return true;
	if (a->changes < 0)
		return false;
	if (a->gain != b->gain)
		return a->gain > b->gain;
	if (youngest_first && a->youth != b->youth)
		return a->youth > b->youth;
	if (a->changes != b->changes)
		return a->changes < b->changes;
	if (a->sooner != b->sooner)
		return a->sooner < b->sooner;
	return a->youth > b->youth;
}

static Cell *
new_cells(const Search *search)
{
	size_t count = (size_t) search->taken_size * (size_t) search->cool_size;
	Cell *cells = calloc(count, sizeof(Cell));
	size_t i;

	for (i = 0; cells != NULL && i < count; i++)
		cells[i].changes = -1;
	return cells;
}

static int64_t
cool_of(const Search *search, int32_t index)
{
	return search->cool_size == 1 ? search->cool : index;
}

static bool
add_leaf(Search *search, const PlanLeaf *leaf)
{
	Node *node = &search->nodes[search->node_count++];
	int32_t taken;
	int32_t cool;

	node->left = -1;
	node->right = -1;
	node->cells = new_cells(search);
	if (node->cells == NULL)
		return false;
	for (taken = 0; taken < search->taken_size; taken++)
	{
		if (taken > leaf->quantity)
			break;
		for (cool = 0; cool < search->cool_size; cool++)
		{
			Cell *cell = &node->cells[(size_t) taken * search->cool_size + cool];
			PlanChoice choice;

			if (!spinpanel_plan_leaf_choice(search->scene, leaf, taken, cool_of(search, cool),
											&choice))
				continue;
			cell->gain = choice.gain;
			cell->youth = choice.youth;
			cell->sooner = choice.sooner;
			cell->changes = choice.changes;
		}
	}
	return true;
}

/*
 * The cells of a node that matter: those that are better than the one with
 * less of the cool-down allowance.  Most subscriptions have few.
 */
static int32_t *
steps_of(const Search *search, const Cell *cells, bool youngest_first, int32_t *count)
{
	int32_t size = search->taken_size * search->cool_size;
	int32_t *steps = malloc((size_t) size * sizeof(int32_t));
	int32_t i;

	*count = 0;
	for (i = 0; steps != NULL && i < size; i++)
	{
		if (cells[i].changes < 0)
			continue;
		if (i % search->cool_size > 0 && !better(&cells[i], &cells[i - 1], youngest_first))
			continue;
		steps[(*count)++] = i;
	}
	return steps;
}

static bool
add_pair(Search *search, int32_t left, int32_t right, bool youngest_first)
{
	Node *node = &search->nodes[search->node_count++];
	const Cell *l = search->nodes[left].cells;
	const Cell *r = search->nodes[right].cells;
	int32_t width = search->cool_size;
	int32_t size = search->taken_size * width;
	int32_t l_count = 0;
	int32_t r_count = 0;
	int32_t *l_steps = steps_of(search, l, youngest_first, &l_count);
	int32_t *r_steps = steps_of(search, r, youngest_first, &r_count);
	int32_t i;
	int32_t j;

	node->left = left;
	node->right = right;
	node->cells = new_cells(search);
	search->work += (int64_t) l_count * r_count;
	if (node->cells == NULL || l_steps == NULL || r_steps == NULL || search->work > MAX_WORK)
	{
		free(l_steps);
		free(r_steps);
		return false;
	}
	for (i = 0; i < l_count; i++)
	{
		int32_t lt = l_steps[i] / width;
		int32_t lc = l_steps[i] % width;
		const Cell *a = &l[l_steps[i]];

		for (j = 0; j < r_count; j++)
		{
			int32_t taken = lt + r_steps[j] / width;
			int32_t cool = lc + r_steps[j] % width;
			const Cell *b = &r[r_steps[j]];
			Cell sum;
			Cell *best;

			if (taken >= search->taken_size)
				break;
			if (cool >= width)
				continue;
			sum.gain = a->gain + b->gain;
			sum.youth = a->youth + b->youth;
			sum.sooner = a->sooner + b->sooner;
			sum.changes = a->changes + b->changes;
			sum.left_taken = lt;
			sum.left_cool = lc;
			sum.cool = cool;
			best = &node->cells[taken * width + cool];
			if (better(&sum, best, youngest_first))
				*best = sum;
		}
	}

	/* With more of the allowance one can do at least as well. */
	for (i = 1; i < size; i++)
	{
		if (i % width > 0 && node->cells[i - 1].changes >= 0 &&
			(node->cells[i].changes < 0 ||
			 better(&node->cells[i - 1], &node->cells[i], youngest_first)))
			node->cells[i] = node->cells[i - 1];
	}
	free(l_steps);
	free(r_steps);
	return true;
}

/*
 * Leaves are nodes 0 .. leaf_count - 1; those of one age group stand side by
 * side and are joined first, then the groups.
 */
static bool
build(Search *search)
{
	const PlanScene *scene = search->scene;
	int32_t root = -1;
	int32_t i;

	for (i = 0; i < scene->leaf_count; i++)
	{
		if (!add_leaf(search, &scene->leaves[i]))
			return false;
	}
	for (i = 0; i < scene->leaf_count;)
	{
		int32_t group = i;
		int32_t age = scene->leaves[i].age_group;

		for (i++; i < scene->leaf_count && age >= 0 && scene->leaves[i].age_group == age; i++)
		{
			if (!add_pair(search, group, i, true))
				return false;
			group = search->node_count - 1;
		}
		if (root < 0)
			root = group;
		else
		{
			if (!add_pair(search, root, group, false))
				return false;
			root = search->node_count - 1;
		}
	}
	return true;
}

/* Walks back from a cell; children always stand before their parent. */
static void
unfold(Search *search, int32_t node, int32_t taken, int32_t cool)
{
	while (search->nodes[node].left >= 0)
	{
		const Node *n = &search->nodes[node];
		const Cell *cell = &n->cells[(size_t) taken * search->cool_size + cool];
		int32_t other = n->right;
		int32_t other_taken = taken - cell->left_taken;
		int32_t other_cool = cell->cool - cell->left_cool;

		/* The left child is the deep one: that way this recursion is not. */
		unfold(search, other, other_taken, other_cool);
		taken = cell->left_taken;
		cool = cell->left_cool;
		node = n->left;
	}
	search->scene->leaves[node].taken = taken;
	search->scene->leaves[node].cool = cool_of(search, cool);
}

/* ---- where the table would be too large ----------------------------------------- */

/* Choices looked at: a hundredth of a second or two */
#define MAX_LOOKS 400000

/* What a leaf gives best lies at one of its bounds, or at the pool's. */
#define MOST_CANDIDATES 16

typedef struct Improver
{
	PlanScene *scene;
	int64_t slack; /* what the leaves leave over */
	int64_t cool;
	PlanChoice *choices; /* per leaf, what its taken and cool mean */
	int64_t looks;
} Improver;

static int32_t
candidates_of(const PlanScene *scene, const PlanLeaf *leaf, int64_t slack, int64_t cool,
			  int64_t *candidates)
{
	int64_t most = least(slack, leaf->quantity);
	int64_t part = leaf->quantity - leaf->minimum;
	int64_t given = leaf->last_chance + cool;
	int64_t lasts = leaf->kind != LEAF_NCE
						? leaf->quantity
						: spinpanel_seats_lasting(&scene->pool->subscriptions[leaf->members[0]],
												  leaf->quantity, scene->now);
	int64_t all[MOST_CANDIDATES];
	int32_t count = 0;
	int32_t i;
	int32_t j;

	all[0] = 0;
	all[1] = most;
	all[2] = part;
	all[3] = given;
	all[4] = leaf->last_chance;
	all[5] = leaf->kind == LEAF_NCE ? leaf->refundable : cool;
	all[6] = leaf->kind == LEAF_NCE ? least(given, leaf->refundable) : given;
	all[7] = leaf->scheduled;
	all[8] = leaf->quantity - leaf->added;
	all[9] = least(part, leaf->quantity - leaf->added + leaf->added_last);
	all[10] = leaf->quantity;
	all[11] = leaf->kind == LEAF_NCE ? part - leaf->refundable : 0;
	all[12] = lasts;
	all[13] = least(part, leaf->refundable) - (leaf->quantity - lasts);
	all[14] = given - (leaf->quantity - lasts);
	all[15] = leaf->near ? given : 0;
	for (i = 0; i < MOST_CANDIDATES; i++)
	{
		bool known = all[i] < 0 || all[i] > most;

		for (j = 0; j < count && !known; j++)
			known = candidates[j] == all[i];
		if (!known)
			candidates[count++] = all[i];
	}
	return count;
}

static void
to_cell(const PlanChoice *choice, Cell *cell)
{
	cell->gain = choice->gain;
	cell->youth = choice->youth;
	cell->sooner = choice->sooner;
	cell->changes = choice->changes;
}

/* The best that one leaf can do with so much; false: nothing, not even zero. */
static bool
best_alone(Improver *im, const PlanLeaf *leaf, int64_t slack, int64_t cool, int64_t *taken,
		   PlanChoice *best)
{
	int64_t candidates[MOST_CANDIDATES];
	int32_t count = candidates_of(im->scene, leaf, slack, cool, candidates);
	bool found = false;
	int32_t i;

	for (i = 0; i < count; i++)
	{
		PlanChoice choice;
		Cell a;
		Cell b;

		im->looks++;
		if (!spinpanel_plan_leaf_choice(im->scene, leaf, candidates[i], cool, &choice))
			continue;
		to_cell(&choice, &a);
		if (found)
			to_cell(best, &b);
		if (found && !better(&a, &b, false))
			continue;
		*best = choice;
		*taken = candidates[i];
		found = true;
	}
	return found;
}

/* Two leaves share anew what they have and what is left over. */
static bool
improve_pair(Improver *im, int32_t one, int32_t other)
{
	PlanLeaf *a = &im->scene->leaves[one];
	PlanLeaf *b = &im->scene->leaves[other];
	bool youngest_first = a->age_group >= 0 && a->age_group == b->age_group;
	int64_t slack = im->slack + a->taken + b->taken;
	int64_t cool = im->cool + im->choices[one].cool + im->choices[other].cool;
	int64_t candidates[MOST_CANDIDATES];
	int32_t count = candidates_of(im->scene, a, slack, cool, candidates);
	PlanChoice alone;
	int64_t ignored;
	int64_t shares[4];
	int32_t share;
	int32_t i;
	bool improved = false;
	Cell best;

	shares[0] = cool;
	shares[1] = 0;
	shares[2] = best_alone(im, b, slack, cool, &ignored, &alone) ? cool - alone.cool : 0;
	shares[3] = im->choices[one].cool;

	best.gain = im->choices[one].gain + im->choices[other].gain;
	best.youth = im->choices[one].youth + im->choices[other].youth;
	best.sooner = im->choices[one].sooner + im->choices[other].sooner;
	best.changes = im->choices[one].changes + im->choices[other].changes;
	for (i = 0; i < count; i++)
	{
		for (share = 0; share < 4; share++)
		{
			PlanChoice first;
			PlanChoice second;
			int64_t taken;
			Cell sum;

			im->looks++;
			if (!spinpanel_plan_leaf_choice(im->scene, a, candidates[i], shares[share], &first) ||
				!best_alone(im, b, slack - candidates[i], cool - first.cool, &taken, &second))
				continue;
			sum.gain = first.gain + second.gain;
			sum.youth = first.youth + second.youth;
			sum.sooner = first.sooner + second.sooner;
			sum.changes = first.changes + second.changes;
			if (!better(&sum, &best, youngest_first))
				continue;
			best = sum;
			a->taken = candidates[i];
			a->cool = shares[share];
			b->taken = taken;
			b->cool = cool - first.cool;
			im->choices[one] = first;
			im->choices[other] = second;
			improved = true;
		}
	}
	if (improved)
	{
		im->slack = slack - a->taken - b->taken;
		im->cool = cool - im->choices[one].cool - im->choices[other].cool;
	}
	return improved;
}

/* One leaf takes what is best for it, then each in turn, the youngest first. */
static void
take_in_turn(Improver *im, int32_t first)
{
	PlanScene *scene = im->scene;
	int32_t i;

	im->slack = scene->slack > 0 ? scene->slack : 0;
	im->cool = scene->seats.settled;
	for (i = -1; i < scene->leaf_count; i++)
	{
		int32_t me = i < 0 ? first : i;
		PlanLeaf *leaf;

		if (me < 0 || (i >= 0 && i == first))
			continue;
		leaf = &scene->leaves[me];
		leaf->taken = 0;
		leaf->cool = im->cool;
		memset(&im->choices[me], 0, sizeof(PlanChoice));
		if (!best_alone(im, leaf, im->slack, im->cool, &leaf->taken, &im->choices[me]))
			continue;
		im->slack -= leaf->taken;
		im->cool -= im->choices[me].cool;
	}
}

/* Two at a time share anew, until no two can do better. */
static void
share_anew(Improver *im, int64_t most_looks)
{
	int32_t count = im->scene->leaf_count;
	bool improved = true;
	int32_t distance;
	int32_t i;

	while (improved && im->looks < most_looks)
	{
		improved = false;
		for (distance = 1; distance < count; distance++)
		{
			for (i = 0; i + distance < count && im->looks < most_looks; i++)
			{
				if (improve_pair(im, i, i + distance))
					improved = true;
				if (improve_pair(im, i + distance, i))
					improved = true;
			}
		}
	}
}

/*
 * From several beginnings, of which the best counts: the table's result to
 * within a thousandth (test/unit/choice_test.c), and as safe.
 */
static bool
choose_by_pairs(PlanScene *scene)
{
	size_t count = (size_t) scene->leaf_count;
	Improver im;
	PlanLeaf *best = malloc(count * sizeof(PlanLeaf));
	Cell most;
	int32_t first;
	int32_t i;

	scene->approximate = true;
	memset(&im, 0, sizeof(im));
	im.scene = scene;
	im.choices = calloc(count, sizeof(PlanChoice));
	most.changes = -1;
	for (first = -1; first < scene->leaf_count && best != NULL && im.choices != NULL; first++)
	{
		Cell sum = { 0 };

		/* Only what goes as a whole or not at all is worth beginning with. */
		if (first >= 0 && !scene->leaves[first].whole)
			continue;
		if (im.looks >= MAX_LOOKS)
			break;
		take_in_turn(&im, first);
		share_anew(&im, first < 0 ? MAX_LOOKS / 2 : MAX_LOOKS);
		for (i = 0; i < scene->leaf_count; i++)
		{
			sum.gain += im.choices[i].gain;
			sum.youth += im.choices[i].youth;
			sum.sooner += im.choices[i].sooner;
			sum.changes += im.choices[i].changes;
		}
		if (!better(&sum, &most, false))
			continue;
		most = sum;
		memcpy(best, scene->leaves, count * sizeof(PlanLeaf));
	}
	if (most.changes >= 0)
		memcpy(scene->leaves, best, count * sizeof(PlanLeaf));
	free(best);
	free(im.choices);
	return most.changes >= 0;
}

bool
spinpanel_plan_choose(PlanScene *scene)
{
	Search search;
	int64_t most_taken = 0;
	int64_t most_cool = 0;
	int64_t cells;
	bool fits;
	int32_t i;

	if (scene->leaf_count == 0)
		return true;
	for (i = 0; i < scene->leaf_count; i++)
	{
		const PlanLeaf *leaf = &scene->leaves[i];

		most_taken += leaf->quantity;
		if (leaf->kind != LEAF_NCE || leaf->whole || leaf->near)
			most_cool += leaf->quantity;
		else
			most_cool += leaf->refundable;
	}
	most_taken = least(most_taken, scene->slack > 0 ? scene->slack : 0);

	search.scene = scene;
	search.node_count = 0;
	search.cool = scene->seats.settled;
	search.taken_size = (int32_t) least(most_taken + 1, MAX_CELLS + 1);
	search.cool_size = 1;
	if (search.cool > 0 && search.cool < most_cool && scene->leaf_count > 1)
		search.cool_size = (int32_t) least(search.cool + 1, MAX_CELLS + 1);
	search.work = 0;
	cells = (int64_t) search.taken_size * search.cool_size;
	if (cells * scene->leaf_count > MAX_CELLS)
		return choose_by_pairs(scene);

	search.nodes = calloc((size_t) scene->leaf_count * 2, sizeof(Node));
	fits = search.nodes != NULL && build(&search);
	if (fits)
	{
		const Cell *root = search.nodes[search.node_count - 1].cells;
		int32_t best = 0;
		int32_t top = search.cool_size - 1;
		int32_t taken;

		for (taken = 1; taken < search.taken_size; taken++)
		{
			const Cell *cell = &root[(size_t) taken * search.cool_size + top];

			if (cell->changes >= 0 &&
				better(cell, &root[(size_t) best * search.cool_size + top], false))
				best = taken;
		}
		unfold(&search, search.node_count - 1, best, top);
	}
	for (i = 0; i < search.node_count; i++)
		free(search.nodes[i].cells);
	free(search.nodes);

	/* Too much work, or no memory for the table: without it, then. */
	return fits || choose_by_pairs(scene);
}
