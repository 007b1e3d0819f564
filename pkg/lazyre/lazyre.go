// Package lazyre holds regular expressions that cost nothing until one of them is needed.
package lazyre

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression (package regexp) that is compiled when it is first asked for. A variable of this type is
// laid out by the compiler and needs no code before main: compiling all of ours takes longer than "camwarden version".
type Regexp struct {
	pattern string
	once    sync.Once
	re      *regexp.Regexp
}

// New returns the regular expression of a pattern. Whether the pattern is one shows when Get is first called.
func New(pattern string) *Regexp { return &Regexp{pattern: pattern} }

// Get compiles the pattern, the first time, and panics if it is none. It may be called by several goroutines at once.
func (r *Regexp) Get() *regexp.Regexp {
	r.once.Do(func() { r.re = regexp.MustCompile(r.pattern) })
	return r.re
}
