package proc

import "testing"

// What stands in /proc may be cut anywhere by the end of its process.
func FuzzStatus(f *testing.F) {
	f.Add("Name:\tx\nUid:\t0\t1\t2\t3\nNSpid:\t1\t2\n", "NSpid:")
	f.Fuzz(func(_ *testing.T, status, label string) {
		_, _ = parseUID([]byte(status))
		_ = statusFields([]byte(status), label)
		_, _ = parseNamespace(status, "net")
	})
}
