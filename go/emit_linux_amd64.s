#include "go_asm.h"
#include "textflag.h"

// R14 is g in Go code, and still in assembly that Go code calls. R15 and X15 have uses of their own and stay untouched.
#define G R14
#define G_M 48 // offset of g.m since Go 1.4; verified at start together with procid

// func writePlain(c *class, pieces *piece, what uint64, slot int) bool
//
// Finds what writeEvent is told, for an event that exactly one recording wants, with no filter, count, or context but the cheap ones.
TEXT ·writePlain(SB), NOSPLIT, $0-33
	MOVQ c+0(FP), AX
	MOVQ class_on(AX), DX
	MOVL (DX), DX                           // class.enabled
	LEAL -1(DX), CX
	TESTL CX, DX
	JNZ  refuse                             // several recordings
	CMPL CX, $0xff
	JAE  refuse                             // none, or its filter or count bits
	MOVQ slot+24(FP), DI
	CMPQ DI, $const_slots
	JAE  refuse
	BSFL DX, DX
	IMUL3Q $const_channelSize, DX, DX
	ADDQ $const_offChannels, DX
	ADDQ ·live+liveState_base(SB), DX       // the channel
	SHLQ $6, DI
	LEAQ const_slotsAt(DX)(DI*1), DI
	MOVL const_contextAt(DX), R10           // channel.context
	CMPL R10, $const_ctxCommon
	JA   refuse
	MOVQ what+16(FP), CX
	SHRQ $const_whatSize, CX
	LEAQ ·contextSize(SB), R11
	MOVBLZX (R11)(R10*1), R11
	LEAQ 8(CX)(R11*1), CX                   // word, context, payload
	CMPQ CX, $const_eventMax
	JA   refuse
	MOVWLZX class_id(AX), SI
	SHLL $const_whatMask, R10
	ORL  R10, SI
	CMPB ·live+liveState_mono(SB), $0
	JNE  refuse
	JMP  event<>(SB)
refuse:
	MOVB $0, ret+32(FP)
	RET

// func writeEvent(slot *region.Slot, pieces *piece, what uint64, x *extra) bool
TEXT ·writeEvent(SB), NOSPLIT, $0-33
	MOVQ slot+0(FP), DI
	MOVQ what+16(FP), SI
	MOVQ SI, CX
	SHRQ $const_whatSize, CX
	JMP  event<>(SB)

// The body of both: their arguments stand at the same places. CX is the event's size, DI the slot, SI what, but for the size and the pieces.
// BX packet, R8 its head, DI where to write, R12 time.
TEXT event<>(SB), NOSPLIT, $0-33
	MOVL (DI), BX                           // slot.cur, 0: none
	DECL BX
	CMPL BX, ·live+liveState_npackets(SB)
	JAE  refuse
	SHLQ $16, BX
	ADDQ ·live+liveState_data(SB), BX
	MOVQ (BX), R8                           // packet.head
	MOVWLZX R8, R9
	LEAQ (BX)(R9*1), DI
	ADDQ CX, R9
	CMPQ R9, $const_packetLimit
	JA   refuse
	TESTL $const_whatExtra, SI
	JNZ  given
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
timed:
	MOVQ AX, DX
	SHRQ $48, DX
	CMPQ DX, 16(BX)                         // packet.time_high
	JNE  refuse
	MOVQ 8(BX), DX                          // packet.last_time
	CMPQ AX, DX
	CMOVQCS DX, AX
	MOVQ AX, R12
	SHLQ $16, AX
	MOVWLZX SI, DX
	ORQ  DX, AX
	MOVQ AX, (DI)
	ADDQ $8, DI

	TESTL $(const_ctxTid<<const_whatMask), SI
	JZ   goid
	XORL AX, AX
	MOVL ·live+liveState_procid(SB), DX
	TESTL DX, DX
	JZ   tid
	MOVQ G_M(G), AX
	MOVL (AX)(DX*1), AX
tid:
	MOVL AX, (DI)
	ADDQ $4, DI
goid:
	TESTL $(const_ctxGoid<<const_whatMask), SI
	JZ   cpu
	XORL AX, AX
	MOVL ·live+liveState_goid(SB), DX
	TESTL DX, DX
	JZ   gid
	MOVQ (G)(DX*1), AX
gid:
	MOVQ AX, (DI)
	ADDQ $8, DI
cpu:
	TESTL $((const_ctxCpu|const_ctxSpan|const_ctxKey)<<const_whatMask), SI
	JNZ  more
copy:
	MOVQ pieces+8(FP), SI
	MOVQ what+16(FP), R10
	SHRQ $const_whatPieces, R10
	ANDL $0xff, R10
next:
	DECQ R10
	JLT  publish
	MOVQ piece_data(SI), AX
	MOVL piece_len(SI), DX
	MOVL piece_elem(SI), R11
	ADDQ $piece__size, SI
	TESTL R11, R11
	JZ   fixed
	CMPQ DX, $16
	JB   small
	// sixteen at a time, the last sixteen again from the end: never a byte outside of the source
	LEAQ -16(AX)(DX*1), R11
	LEAQ -16(DI)(DX*1), R13
sixteen:
	MOVOU (AX), X0
	MOVOU X0, (DI)
	ADDQ $16, AX
	ADDQ $16, DI
	CMPQ AX, R11
	JB   sixteen
	MOVOU (R11), X0
	MOVOU X0, (R13)
	LEAQ 16(R13), DI
	JMP  next
small:
	CMPQ DX, $8
	JB   below8
	MOVQ (AX), R11
	MOVQ -8(AX)(DX*1), R13
	MOVQ R11, (DI)
	MOVQ R13, -8(DI)(DX*1)
	ADDQ DX, DI
	JMP  next
below8:
	CMPQ DX, $4
	JB   below4
	MOVL (AX), R11
	MOVL -4(AX)(DX*1), R13
	MOVL R11, (DI)
	MOVL R13, -4(DI)(DX*1)
	ADDQ DX, DI
	JMP  next
below4:
	TESTQ DX, DX
	JZ   next
	MOVB (AX), R11
	MOVB -1(AX)(DX*1), R13
	MOVB R11, (DI)
	MOVB R13, -1(DI)(DX*1)
	CMPQ DX, $3
	JB   two
	MOVB 1(AX), R11
	MOVB R11, 1(DI)
two:
	ADDQ DX, DI
	JMP  next

fixed:
	// just stored, word by word: loads of the same words are forwarded from there, larger ones would stall
	SUBQ $8, DX
	JB   fixed4
fixed8:
	MOVQ (AX), R11
	MOVQ R11, (DI)
	ADDQ $8, AX
	ADDQ $8, DI
	SUBQ $8, DX
	JAE  fixed8
fixed4:
	TESTL $4, DX
	JZ   fixed2
	MOVL (AX), R11
	MOVL R11, (DI)
	ADDQ $4, AX
	ADDQ $4, DI
fixed2:
	TESTL $2, DX
	JZ   fixed1
	MOVW (AX), R11
	MOVW R11, (DI)
	ADDQ $2, AX
	ADDQ $2, DI
fixed1:
	TESTL $1, DX
	JZ   next
	MOVB (AX), R11
	MOVB R11, (DI)
	INCQ DI
	JMP  next

given:
	MOVQ x+24(FP), AX
	MOVQ extra_time(AX), AX
	TESTQ AX, AX
	JNZ  timed
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	JMP  timed

publish:
	// x86 makes stores seen in program order: the event, the time, then head
	MOVQ R12, 8(BX)                         // packet.last_time
	MOVQ $0x100000000, AX
	ADDQ R8, AX
	ADDQ CX, AX
	MOVQ AX, (BX)                           // [HEAD]
	MOVB $1, ret+32(FP)
	RET

refuse:
	MOVB $0, ret+32(FP)
	RET

more:
	TESTL $(const_ctxCpu<<const_whatMask), SI
	JZ   span
	MOVL $0xffff, R11
	CMPB ·live+liveState_noCPU(SB), $0
	JNE  cpuput
	MOVQ CX, R11
	RDTSCP
	XCHGQ CX, R11
	ANDL $0xfff, R11
cpuput:
	MOVW R11, (DI)
	ADDQ $2, DI
span:
	MOVQ x+24(FP), DX                       // not nil when one of these is asked for
	TESTL $(const_ctxSpan<<const_whatMask), SI
	JZ   key
	MOVQ extra_span(DX), AX
	MOVQ AX, (DI)
	ADDQ $8, DI
key:
	TESTL $(const_ctxKey<<const_whatMask), SI
	JZ   copy
	MOVQ extra_key(DX), AX
	MOVQ AX, (DI)
	ADDQ $8, DI
	JMP  copy

// func counter() int64
TEXT ·counter(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func cpuNumber() uint32
TEXT ·cpuNumber(SB), NOSPLIT, $0-4
	MOVL $0xffff, CX
	CMPB ·live+liveState_noCPU(SB), $0
	JNE  done
	RDTSCP
	ANDL $0xfff, CX
done:
	MOVL CX, ret+0(FP)
	RET

// func hasCPUNumber() bool
TEXT ·hasCPUNumber(SB), NOSPLIT, $0-1
	MOVL $0x80000000, AX
	CPUID
	CMPL AX, $0x80000001
	JB   no
	MOVL $0x80000001, AX
	CPUID
	SHRL $27, DX                            // RDTSCP
	ANDL $1, DX
	MOVB DX, ret+0(FP)
	RET
no:
	MOVB $0, ret+0(FP)
	RET

// func gword(off uint32) uint64
TEXT ·gword(SB), NOSPLIT, $0-16
	MOVL off+0(FP), DX
	MOVQ (G)(DX*1), AX
	MOVQ AX, ret+8(FP)
	RET

// func mword(off uint32) uint64
TEXT ·mword(SB), NOSPLIT, $0-16
	MOVL off+0(FP), DX
	MOVQ G_M(G), AX
	MOVQ (AX)(DX*1), AX
	MOVQ AX, ret+8(FP)
	RET

// func frames(pcs *uint64, max, skip int) int
//
// A frame pointer is followed only upwards and only inside [g.stack.lo, g.stack.hi), the first two words of g.
TEXT ·frames(SB), NOSPLIT, $0-32
	MOVQ pcs+0(FP), DI
	MOVQ max+8(FP), R8
	MOVQ skip+16(FP), R9
	XORL AX, AX                             // stored
	MOVQ BP, BX
	MOVQ (G), R10                           // stack.lo
	MOVQ 8(G), R11                          // stack.hi
	SUBQ $16, R11
walk:
	CMPQ AX, R8
	JGE  done
	CMPQ BX, R10
	JB   done
	CMPQ BX, R11
	JA   done
	TESTQ $7, BX
	JNZ  done
	MOVQ 8(BX), CX
	TESTQ CX, CX
	JZ   done
	DECQ R9
	JGE  up
	MOVQ CX, (DI)(AX*8)
	INCQ AX
up:
	LEAQ 1(BX), R10                         // only upwards
	MOVQ (BX), BX
	JMP  walk
done:
	MOVQ AX, ret+24(FP)
	RET
