//go:build linux && (amd64 || arm64)

package gander

import "gander.internal/gander/internal/region"

// For the assembly, which sees only this package's constants.
const (
	packetLimit = region.PacketLimit
	ctxTid      = region.CtxTid
	ctxGoid     = region.CtxGoid
	ctxCpu      = region.CtxCpu
	ctxSpan     = region.CtxSpan
	ctxKey      = region.CtxKey
)
