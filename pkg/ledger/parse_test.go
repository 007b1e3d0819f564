package ledger

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever lies in the folder, reading it must neither panic nor give a lease that cannot be told apart from others.
func FuzzParse(f *testing.F) {
	const id = "01J00000000000000000000000"
	whole, _ := json.Marshal(Lease{V: 1, ID: id, Kind: Process})
	f.Add([]byte(strings.Replace(string(whole), `"boot_id":""`, `"boot_id":"b"`, 1)))
	f.Add([]byte(`{"v":1,"id":"` + id + `","kind":"cooling","owner":{"boot_id":"b","pid":9},"address":"1.2.3.4:554","deadline_ns":1}`))
	f.Add([]byte(`{"v":99}`))
	f.Add([]byte(`{"v":1,"address":"nonsense"}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, content []byte) {
		l, err := parse(id, content)
		if err == nil && (l.V != 1 || l.ID != id || l.Owner.BootID == "" || l.Owner.PID <= 0 || !l.Kind.known()) {
			t.Errorf("taken for a lease: %q -> %+v", content, l)
		}
		if err != nil && (l != Lease{} || err.Error() == "") {
			t.Errorf("refused, but gave %+v (%v)", l, err)
		}
	})
}

func TestNamesNeverShareAFile(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{
		"", ".", "..", "round", "Round", "slot-127.1.2.3:554", "slot-[::1]:554", "slot-[fe80::1%eth0]:554", "a/b", "a_b", "a\\b", "../a", "-a", ".a", "a",
		"門", "庭", "a\x00b", strings.Repeat("x", 100), strings.Repeat("x", 101), strings.Repeat("x", 5000), fileName("a/b"),
	} {
		file := fileName(name)
		if was, taken := seen[file]; taken {
			t.Errorf("%q and %q share %q", was, name, file)
		}
		seen[file] = name
		if file == "" || len(file) > 120 || strings.ContainsAny(file, "/\x00") || file[0] == '.' || file[0] == '-' {
			t.Errorf("%q gives the file name %q", name, file)
		}
	}
	if fileName("slot-127.1.2.3:554") != "slot-127.1.2.3:554" {
		t.Error("an ordinary name is not kept readable")
	}
}

func TestNetworkFileSystemsAreKnownByTheirNumber(t *testing.T) {
	t.Parallel()
	for magic, want := range map[int64]string{0x6969: "NFS", 0xfe534d42: "SMB", 0x01021994: "", 0xef53: "", 0x58465342: ""} {
		if got := remote(magic); got != want {
			t.Errorf("%#x is %q, want %q", magic, got, want)
		}
		if got := remote(int32(magic)); got != want {
			t.Errorf("%#x in 32 bits is %q, want %q", magic, got, want)
		}
	}
}
