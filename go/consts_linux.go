//go:build linux && (amd64 || arm64)

package gander

import (
	"unsafe"

	"gander.internal/gander/internal/region"
)

// For the assembly, which sees only this package's constants.
const (
	packetLimit = region.PacketLimit
	eventMax    = region.EventMax
	slots       = region.Slots
	offChannels = region.OffChannels
	channelSize = unsafe.Sizeof(region.Channel{})
	slotsAt     = unsafe.Offsetof(region.Channel{}.Slot)
	contextAt   = unsafe.Offsetof(region.Channel{}.Context)

	ctxTid    = region.CtxTid
	ctxGoid   = region.CtxGoid
	ctxCpu    = region.CtxCpu
	ctxSpan   = region.CtxSpan
	ctxKey    = region.CtxKey
	ctxCommon = ctxTid | ctxGoid | ctxCpu // what every event can have without being asked twice
)
