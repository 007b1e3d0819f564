package proc

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Lacking names the capabilities that this process does not have, of those that it takes to see and to end the processes of
// other users (man 7 capabilities): CAP_KILL, and to read what they hold both CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or
// CAP_DAC_OVERRIDE in place of the last. For user 0 outside a container there are none.
func (f FS) Lacking() []string {
	status, err := slurp(filepath.Join(f.root(), "self/status"))
	if err != nil {
		return nil
	}
	fields := statusFields(status, "CapEff:")
	if len(fields) != 1 {
		return nil
	}
	effective, err := strconv.ParseUint(fields[0], 16, 64)
	if err != nil {
		return nil
	}
	has := func(capability int) bool { return effective&(1<<capability) != 0 }
	var lacking []string
	for _, c := range []struct {
		name string
		has  bool
	}{
		{"CAP_KILL", has(unix.CAP_KILL)},
		{"CAP_SYS_PTRACE", has(unix.CAP_SYS_PTRACE)},
		{"CAP_DAC_READ_SEARCH", has(unix.CAP_DAC_READ_SEARCH) || has(unix.CAP_DAC_OVERRIDE)},
	} {
		if !c.has {
			lacking = append(lacking, c.name)
		}
	}
	return lacking
}
