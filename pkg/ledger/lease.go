package ledger

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/camwarden/camwarden/pkg/proc"
)

// MarkVariable is the variable in a child's environment that tells whose it is; see Mark for its value.
// It is set before the child exists, so it also names the child of an owner that died before it could write down a pid.
const MarkVariable = "CAMWARDEN_LEASE"

// version of the lease files this package writes. A newer one is reported and left alone.
const version = 1

// Kind is what a lease is a note of.
type Kind string

// The kinds of leases. A process and a connection each take one slot of their address, and so does a cooling lease:
// the camera may still count a session that ended without a word. A stream is registered in a remote server; it outlives
// boots and takes no slot by itself.
const (
	Process    Kind = "process"
	Connection Kind = "connection"
	Stream     Kind = "stream"
	Cooling    Kind = "cooling"
)

func (k Kind) known() bool { return k == Process || k == Connection || k == Stream || k == Cooling }

// Lease is a note that we made something, or took a slot. It never holds a URL or a secret.
type Lease struct {
	V              int            `json:"v"`
	ID             string         `json:"id"` // a ULID
	Kind           Kind           `json:"kind"`
	Run            string         `json:"run"`
	Camera         string         `json:"camera,omitempty"`
	Address        netip.AddrPort `json:"address,omitzero"`
	Child          proc.Identity  `json:"child,omitzero"`       // zero until the process exists: the lease is still "starting"
	ChildInode     uint64         `json:"child_inode,omitzero"` // of the child's pidfd, where the kernel has such numbers
	Owner          proc.Identity  `json:"owner"`
	Deadline       time.Duration  `json:"deadline_ns"`                 // on the boot-time clock of Owner.BootID
	SessionTimeout time.Duration  `json:"session_timeout_ns,omitzero"` // how long the camera may keep a session that ends without a word
	Made           time.Time      `json:"made"`                        // wall clock, for people only
	Name           string         `json:"name,omitempty"`              // of the stream
	Server         string         `json:"server,omitempty"`            // that holds the stream
	Relay          *Relay         `json:"relay,omitempty"`             // who makes the connection in our place
	Note           string         `json:"note,omitempty"`
}

// Relay is a process that is not ours and connects to a camera because we asked it to. It is never ended by us: it has
// other work to do. What is known of it is for counting alone, since its sockets are those that the lease stands for.
type Relay struct {
	ID     proc.Identity `json:"id,omitzero"` // zero where it is hidden from us, in which case UID is all we see of its sockets
	UID    uint32        `json:"uid"`
	Beside int           `json:"beside"` // connections to the address that it had besides, when the lease was written
}

// Starting reports whether the lease was written for a process that nobody has seen yet.
// With a dead owner and no process that carries its mark, there never was one.
func (l Lease) Starting() bool { return l.Kind == Process && l.Child.IsZero() }

func newID() (string, error) {
	id, err := ulid.New(ulid.Now(), rand.Reader)
	return id.String(), err
}

func validID(id string) bool {
	_, err := ulid.ParseStrict(id)
	return err == nil
}

// parse reads what a lease file holds; the error says, for people, why it is not a lease.
func parse(id string, content []byte) (Lease, error) {
	var l Lease
	var head struct {
		V int `json:"v"`
	}
	// The version first: a newer file may hold fields of other types than ours.
	if err := json.Unmarshal(content, &head); err != nil {
		if len(content) == 0 {
			return Lease{}, errors.New("empty")
		}
		return Lease{}, fmt.Errorf("not a lease: %w", err)
	}
	if head.V > version {
		return Lease{}, fmt.Errorf("written by a newer camwarden (version %d, this one knows %d)", head.V, version)
	}
	if err := json.Unmarshal(content, &l); err != nil {
		return Lease{}, fmt.Errorf("not a lease: %w", err)
	}
	switch {
	case l.V != version:
		return Lease{}, fmt.Errorf("not a lease: version %d", l.V)
	case l.ID != id || !validID(id):
		return Lease{}, fmt.Errorf("not a lease: id %q in a file named after %q", l.ID, id)
	case !l.Kind.known():
		return Lease{}, fmt.Errorf("not a lease: kind %q", l.Kind)
	case l.Owner.BootID == "" || l.Owner.PID <= 0:
		return Lease{}, errors.New("not a lease: no owner")
	}
	return l, nil
}
