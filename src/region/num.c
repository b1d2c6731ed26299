/* Numbers of filters. Integers are exact: kept as sign and magnitude while they are computed, so that signed and
 * unsigned ones mix without surprise. */
#include "region/vm.h"

#define TWO_63 9223372036854775808.0
#define TWO_64 18446744073709551616.0

struct wide { /* an integer */
	bool minus;
	uint64_t mag;
};

static bool is_integer(struct gd_num x)
{
	return x.kind == GD_NUM_I64 || x.kind == GD_NUM_U64;
}

static struct wide to_wide(struct gd_num x)
{
	struct wide w;

	w.minus = x.kind == GD_NUM_I64 && x.bits >> 63;
	w.mag = w.minus ? -x.bits : x.bits;
	return w;
}

static struct gd_num from_wide(bool minus, uint64_t mag)
{
	struct gd_num x = { GD_NUM_I64, minus ? -mag : mag };

	if (minus && mag > 1ull << 63)
		x.kind = GD_NUM_NONE;
	else if (!minus && mag >> 63)
		x.kind = GD_NUM_U64;
	return x;
}

static double to_double(struct gd_num x)
{
	double d;

	if (x.kind == GD_NUM_F64)
		__builtin_memcpy(&d, &x.bits, sizeof(d));
	else if (x.kind == GD_NUM_I64)
		d = (double)(int64_t)x.bits;
	else
		d = (double)x.bits;
	return d;
}

static int compare_wide(struct wide x, struct wide y)
{
	if (x.minus != y.minus)
		return x.minus ? -1 : 1;
	if (x.mag == y.mag)
		return 0;
	return (x.mag < y.mag) != x.minus ? -1 : 1;
}

/* An integer and a double: by the double's integral part, then by its fraction. */
static int compare_mixed(struct wide x, double d)
{
	struct wide whole;
	int r;

	if (d != d)
		return 2;
	if (d >= TWO_64)
		return -1;
	if (d < -TWO_63)
		return 1;
	whole.minus = d < 0;
	whole.mag = (uint64_t)(d < 0 ? -d : d);
	if (!whole.mag)
		whole.minus = false;
	r = compare_wide(x, whole);
	if (r)
		return r;
	if ((d < 0 ? -d : d) == (double)whole.mag)
		return 0;
	return d < 0 ? 1 : -1; /* the same whole part: d lies further from zero */
}

int gd_num_compare(struct gd_num x, struct gd_num y)
{
	double dx, dy;
	int r;

	if (is_integer(x) && is_integer(y))
		return compare_wide(to_wide(x), to_wide(y));
	dx = to_double(x);
	dy = to_double(y);
	if (is_integer(x))
		return compare_mixed(to_wide(x), dy);
	if (is_integer(y)) {
		r = compare_mixed(to_wide(y), dx);
		return r == 2 ? r : -r;
	}
	return dx < dy ? -1 : dx > dy ? 1
		      : dx == dy      ? 0
				      : 2;
}

bool gd_num_holds(unsigned rel, struct gd_num x, struct gd_num y)
{
	int r;

	if (x.kind - 1 >= GD_NUM_F64 || y.kind - 1 >= GD_NUM_F64)
		return false;
	r = gd_num_compare(x, y);
	switch (rel) {
	case GD_REL_EQ:
		return r == 0;
	case GD_REL_NE:
		return r != 0;
	case GD_REL_LT:
		return r == -1;
	case GD_REL_LE:
		return r == -1 || r == 0;
	case GD_REL_GT:
		return r == 1;
	case GD_REL_GE:
		return r == 1 || r == 0;
	}
	return false;
}

static struct gd_num float_arith(unsigned arith, double x, double y)
{
	struct gd_num r = { GD_NUM_F64, 0 };

	switch (arith) {
	case GD_ARITH_ADD:
		x += y;
		break;
	case GD_ARITH_SUB:
		x -= y;
		break;
	case GD_ARITH_MUL:
		x *= y;
		break;
	case GD_ARITH_DIV:
		if (y == 0)
			r.kind = GD_NUM_NONE;
		else
			x /= y;
		break;
	default:
		r.kind = GD_NUM_NONE;
	}
	if (r.kind)
		__builtin_memcpy(&r.bits, &x, sizeof(x));
	return r;
}

static struct gd_num add_wide(struct wide x, struct wide y)
{
	struct gd_num none = { GD_NUM_NONE, 0 };
	uint64_t sum;

	if (x.minus == y.minus)
		return __builtin_add_overflow(x.mag, y.mag, &sum) ? none : from_wide(x.minus, sum);
	if (x.mag >= y.mag)
		return from_wide(x.minus && x.mag != y.mag, x.mag - y.mag);
	return from_wide(y.minus, y.mag - x.mag);
}

struct gd_num gd_num_arith(unsigned arith, struct gd_num x, struct gd_num y)
{
	struct gd_num none = { GD_NUM_NONE, 0 }, r;
	struct wide wx, wy;
	uint64_t mag;

	if (x.kind - 1 >= GD_NUM_F64 || y.kind - 1 >= GD_NUM_F64)
		return none;
	if (!is_integer(x) || !is_integer(y))
		return float_arith(arith, to_double(x), to_double(y));
	wx = to_wide(x);
	wy = to_wide(y);
	switch (arith) {
	case GD_ARITH_ADD:
		return add_wide(wx, wy);
	case GD_ARITH_SUB:
		wy.minus = !wy.minus && wy.mag;
		return add_wide(wx, wy);
	case GD_ARITH_SHL:
		if (wy.minus || wy.mag > 63)
			return none;
		wy.mag = 1ull << wy.mag;
		/* fallthrough */
	case GD_ARITH_MUL:
		if (__builtin_mul_overflow(wx.mag, wy.mag, &mag))
			return none;
		return from_wide(wx.minus != wy.minus && mag, mag);
	case GD_ARITH_DIV:
		if (!wy.mag)
			return none;
		mag = wx.mag / wy.mag;
		return from_wide(wx.minus != wy.minus && mag, mag);
	case GD_ARITH_MOD:
		if (!wy.mag)
			return none;
		mag = wx.mag % wy.mag;
		return from_wide(wx.minus && mag, mag);
	case GD_ARITH_SHR:
		if (wy.minus || wy.mag > 63)
			return none;
		r = x;
		r.bits = wx.minus ? (uint64_t)((int64_t)x.bits >> wy.mag) : x.bits >> wy.mag;
		return r;
	case GD_ARITH_AND:
		r.bits = x.bits & y.bits;
		break;
	case GD_ARITH_OR:
		r.bits = x.bits | y.bits;
		break;
	case GD_ARITH_XOR:
		r.bits = x.bits ^ y.bits;
		break;
	default:
		return none;
	}
	r.kind = wx.minus || wy.minus ? GD_NUM_I64 : GD_NUM_U64;
	return r;
}
