/* System calls without libc's wrappers: nothing that a program interposes (open, close, fork tools, tracers) is entered, errno stays as it
 * is, and the dynamic linker has no symbols to look up, which would be a third of the constructor's time. Each returns the kernel's
 * answer: a negative errno on failure. */
#ifndef GANDER_TRACER_SYS_H
#define GANDER_TRACER_SYS_H

#include <stdint.h>
#include <sys/syscall.h>

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "libgander knows the system calls of x86-64 and arm64"
#endif
}

#define sys(nr, ...)                       SYS_PAD(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_PAD(nr, a, b, c, d, e, f, ...) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#define sys_failed(r) ((unsigned long)(r) > -4096ul)

#endif
