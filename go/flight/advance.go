//go:build go1.22 && linux && (amd64 || arm64)

package flight

import _ "unsafe" // for go:linkname

// traceAdvance closes the current generation of the trace: it returns when all of that has been written. From Go 1.23 on the runtime keeps
// the name for golang.org/x/exp/trace, which calls it in the same way.
//
//go:linkname traceAdvance runtime.traceAdvance
func traceAdvance(stopTrace bool)
