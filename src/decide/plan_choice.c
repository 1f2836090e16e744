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
 * over many subscriptions) the youngest gives first, as much as it can; the
 * result is as safe, but perhaps not the very best.
 */
#include <stdlib.h>

#include "decide/plan_internal.h"

/* Bounds of the table: some 20 MB and a few hundredths of a second */
#define MAX_CELLS 200000
#define MAX_WORK INT64_C(5000000)

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

static void
choose_greedily(PlanScene *scene)
{
	int64_t slack = scene->slack > 0 ? scene->slack : 0;
	int64_t cool = scene->seats.settled;
	int32_t i;

	for (i = 0; i < scene->leaf_count; i++)
	{
		PlanLeaf *leaf = &scene->leaves[i];
		int64_t most = least(slack, leaf->quantity);
		int64_t tries[6];
		PlanChoice best = { 0 };
		bool found = false;
		int32_t t;

		tries[0] = most;
		tries[1] = least(most, leaf->quantity - leaf->minimum);
		tries[2] = least(tries[1], leaf->last_chance + cool);
		tries[2] = leaf->kind == LEAF_NCE ? least(tries[2], leaf->refundable) : tries[2];
		tries[3] = least(most, leaf->scheduled);
		tries[4] = least(least(tries[1], leaf->last_chance + cool), leaf->quantity - leaf->added);
		tries[5] = 0;
		leaf->taken = 0;
		leaf->cool = cool;
		for (t = 0; t < 6; t++)
		{
			PlanChoice choice;

			if (!spinpanel_plan_leaf_choice(scene, leaf, tries[t], cool, &choice) ||
				(found && choice.gain <= best.gain))
				continue;
			best = choice;
			found = true;
			leaf->taken = tries[t];
		}
		if (found)
		{
			slack -= leaf->taken;
			cool -= best.cool;
		}
	}
}

void
spinpanel_plan_choose(PlanScene *scene)
{
	Search search;
	int64_t most_taken = 0;
	int64_t most_cool = 0;
	int64_t cells;
	bool fits;
	int32_t i;

	if (scene->leaf_count == 0)
		return;
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
	{
		choose_greedily(scene);
		return;
	}

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
	if (!fits)
		choose_greedily(scene);
}
