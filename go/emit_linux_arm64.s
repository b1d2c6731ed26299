#include "go_asm.h"
#include "textflag.h"

#define G_M 48 // offset of g.m since Go 1.4; verified at start together with procid

// func writePlain(c *class, pieces *piece, what uint64, slot int) bool
//
// Here every event goes the general way.
TEXT ·writePlain(SB), NOSPLIT, $0-33
	MOVB ZR, ret+32(FP)
	RET

// func writeEvent(slot *region.Slot, pieces *piece, what uint64, x *extra) bool
//
// R1 packet, R5 its head, R7 where to write, R8 what, R9 the event's size, R11 time
TEXT ·writeEvent(SB), NOSPLIT, $0-33
	MOVD slot+0(FP), R0
	MOVWU (R0), R1                          // slot.cur, 0: none
	SUBW $1, R1, R1
	MOVD $·live(SB), R2
	MOVWU liveState_npackets(R2), R3
	CMPW R3, R1
	BHS  refuse
	MOVWU R1, R1
	LSL  $16, R1, R1
	MOVD liveState_data(R2), R4
	ADD  R4, R1, R1
	MOVD (R1), R5                           // packet.head
	AND  $0xffff, R5, R6
	ADD  R6, R1, R7
	MOVD what+16(FP), R8
	LSR  $const_whatSize, R8, R9
	ADD  R9, R6, R6
	MOVD $const_packetLimit, R10
	CMP  R10, R6
	BHI  refuse
	TBNZ $23, R8, given                     // whatExtra
	MRS  CNTVCT_EL0, R11
timed:
	LSR  $48, R11, R10
	MOVD 16(R1), R12                        // packet.time_high
	CMP  R10, R12
	BNE  refuse
	MOVD 8(R1), R12                         // packet.last_time
	CMP  R12, R11
	CSEL LO, R12, R11, R11
	LSL  $16, R11, R10
	AND  $0xffff, R8, R12
	ORR  R12, R10, R10
	MOVD R10, (R7)
	ADD  $8, R7, R7
	LSR  $const_whatMask, R8, R13           // the context's mask

	TBZ  $0, R13, goid                      // ctxTid
	MOVD $0, R10
	MOVWU liveState_procid(R2), R12
	CBZ  R12, tid
	MOVD G_M(g), R10
	ADD  R12, R10, R10
	MOVWU (R10), R10
tid:
	MOVW R10, (R7)
	ADD  $4, R7, R7
goid:
	TBZ  $1, R13, cpu                       // ctxGoid
	MOVD $0, R10
	MOVWU liveState_goid(R2), R12
	CBZ  R12, gid
	ADD  g, R12, R12
	MOVD (R12), R10
gid:
	MOVD R10, (R7)
	ADD  $8, R7, R7
cpu:
	TBZ  $2, R13, span                      // ctxCpu: there is no cheap way to read it
	MOVD $0xffff, R10
	MOVH R10, (R7)
	ADD  $2, R7, R7
span:
	MOVD x+24(FP), R12                      // not nil when a span or a key is asked for
	TBZ  $3, R13, key                       // ctxSpan
	MOVD extra_span(R12), R10
	MOVD R10, (R7)
	ADD  $8, R7, R7
key:
	TBZ  $4, R13, copy                      // ctxKey
	MOVD extra_key(R12), R10
	MOVD R10, (R7)
	ADD  $8, R7, R7

copy:
	MOVD pieces+8(FP), R13
	LSR  $const_whatPieces, R8, R8
	AND  $0xff, R8, R8
next:
	CBZ  R8, publish
	SUB  $1, R8, R8
	MOVD piece_data(R13), R0
	MOVWU piece_len(R13), R3
	ADD  $piece__size, R13, R13
eight:
	CMP  $8, R3
	BLO  four
	MOVD.P 8(R0), R10
	MOVD.P R10, 8(R7)
	SUB  $8, R3, R3
	B    eight
four:
	TBZ  $2, R3, two
	MOVWU.P 4(R0), R10
	MOVW.P R10, 4(R7)
two:
	TBZ  $1, R3, one
	MOVHU.P 2(R0), R10
	MOVH.P R10, 2(R7)
one:
	TBZ  $0, R3, next
	MOVBU.P 1(R0), R10
	MOVB.P R10, 1(R7)
	B    next

given:
	MOVD x+24(FP), R10
	MOVD extra_time(R10), R11
	CBNZ R11, timed
	MRS  CNTVCT_EL0, R11
	B    timed

publish:
	MOVD R11, 8(R1)                         // packet.last_time
	MOVD $0x100000000, R10
	ADD  R10, R5, R5
	ADD  R9, R5, R5
	STLR R5, (R1)                           // [HEAD] release: what was stored before is seen before
	MOVD $1, R0
	MOVB R0, ret+32(FP)
	RET

refuse:
	MOVB ZR, ret+32(FP)
	RET

// func counter() int64
TEXT ·counter(SB), NOSPLIT, $0-8
	MRS  CNTVCT_EL0, R0
	MOVD R0, ret+0(FP)
	RET

// func cpuNumber() uint32
TEXT ·cpuNumber(SB), NOSPLIT, $0-4
	MOVD $0xffff, R0
	MOVW R0, ret+0(FP)
	RET

// func hasCPUNumber() bool
TEXT ·hasCPUNumber(SB), NOSPLIT, $0-1
	MOVB ZR, ret+0(FP)
	RET

// func gword(off uint32) uint64
TEXT ·gword(SB), NOSPLIT, $0-16
	MOVWU off+0(FP), R0
	ADD  g, R0, R0
	MOVD (R0), R0
	MOVD R0, ret+8(FP)
	RET

// func mword(off uint32) uint64
TEXT ·mword(SB), NOSPLIT, $0-16
	MOVWU off+0(FP), R0
	MOVD G_M(g), R1
	ADD  R1, R0, R0
	MOVD (R0), R0
	MOVD R0, ret+8(FP)
	RET

// func frames(pcs *uint64, max, skip int) int
//
// A frame pointer is followed only upwards and only inside [g.stack.lo, g.stack.hi), the first two words of g.
TEXT ·frames(SB), NOSPLIT, $0-32
	MOVD pcs+0(FP), R0
	MOVD max+8(FP), R1
	MOVD skip+16(FP), R2
	MOVD $0, R3                             // stored
	MOVD R29, R4
	MOVD 0(g), R5                           // stack.lo
	MOVD 8(g), R6                           // stack.hi
	SUB  $16, R6, R6
walk:
	CMP  R1, R3
	BGE  done
	CMP  R5, R4
	BLO  done
	CMP  R6, R4
	BHI  done
	TST  $7, R4
	BNE  done
	MOVD 8(R4), R7
	CBZ  R7, done
	SUB  $1, R2, R2
	TBZ  $63, R2, up
	MOVD.P R7, 8(R0)
	ADD  $1, R3, R3
up:
	ADD  $1, R4, R5                         // only upwards
	MOVD (R4), R4
	B    walk
done:
	MOVD R3, ret+24(FP)
	RET
