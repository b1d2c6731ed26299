// Package mapped says where the region of this program lies, for the packages of the agent beside gander itself.
package mapped

import "unsafe"

// Place is the mapped region.
type Place struct {
	Base     unsafe.Pointer // nil: the agent is off
	Npackets uint32
	Path     string // of its file
	Secure   bool   // the environment's word does not count
}

// Region is set once, while package gander is initialized.
var Region Place
