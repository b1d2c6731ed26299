/* Tracepoints with every field type that LTTng-UST has. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER gander_test
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./lttng_types_tp.h"

#if !defined(GANDER_LTTNG_TYPES_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define GANDER_LTTNG_TYPES_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

LTTNG_UST_TRACEPOINT_ENUM(gander_test, colour,
			  LTTNG_UST_TP_ENUM_VALUES(
				  lttng_ust_field_enum_value("red", 0)
					  lttng_ust_field_enum_value("a \"quoted\" one", 1)
						  lttng_ust_field_enum_range("many", 2, 9)
							  lttng_ust_field_enum_auto("next")))

LTTNG_UST_TRACEPOINT_EVENT(gander_test, all,
			   LTTNG_UST_TP_ARGS(int, i, const char *, text, const int64_t *, list, const char *, bytes, double, d),
			   LTTNG_UST_TP_FIELDS(
				   lttng_ust_field_integer(int8_t, i8, (int8_t)-i)
					   lttng_ust_field_integer(uint16_t, u16, (uint16_t)(i * 1000))
						   lttng_ust_field_integer(int32_t, i32, -i)
							   lttng_ust_field_integer(uint64_t, u64, ~(uint64_t)i)
								   lttng_ust_field_integer_hex(uint32_t, hex, (uint32_t)i * 0x11111111u)
									   lttng_ust_field_integer_network(uint32_t, net, 0x01020304u + (uint32_t)i)
										   lttng_ust_field_integer_network_hex(uint16_t, nethex, (uint16_t)(0x0102u + (uint32_t)i))
											   lttng_ust_field_float(float, f32, (float)i / 3)
												   lttng_ust_field_float(double, f64, d)
													   lttng_ust_field_string(text, text)
														   lttng_ust_field_array(int64_t, array, list, 3)
															   lttng_ust_field_array_hex(int64_t, arrayhex, list, 2)
																   lttng_ust_field_array_text(char, arraytext, bytes, 8)
																	   lttng_ust_field_sequence(int64_t, seq, list, size_t, (size_t)(i % 4))
																		   lttng_ust_field_sequence_hex(int64_t, seqhex, list, uint8_t, (uint8_t)(i % 3))
																			   lttng_ust_field_sequence_text(char, seqtext, bytes, unsigned int, (unsigned)(i % 8))
																				   lttng_ust_field_enum(gander_test, colour, int, colour, i % 14)))

LTTNG_UST_TRACEPOINT_LOGLEVEL(gander_test, all, LTTNG_UST_TRACEPOINT_LOGLEVEL_WARNING)

LTTNG_UST_TRACEPOINT_EVENT(gander_test, none, LTTNG_UST_TP_ARGS(), LTTNG_UST_TP_FIELDS())

#endif

#include <lttng/tracepoint-event.h>
