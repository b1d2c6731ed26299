//go:build go1.23

package main

import "iter"

func init() {
	workloads["coroutines"] = func() {
		each(2, func(int) {
			for going() {
				next, done := iter.Pull(func(yield func(int) bool) {
					for i := 0; i < 200 && yield(i); i++ {
					}
				})
				for i := 0; i < 150; i++ {
					next()
				}
				done()
			}
		})
	}
}
