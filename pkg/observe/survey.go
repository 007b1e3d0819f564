package observe

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/camwarden/camwarden/pkg/cmdline"
	"github.com/camwarden/camwarden/pkg/go2rtc"
	"github.com/camwarden/camwarden/pkg/ledger"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/streams"
)

// Schema names what Save writes; a changed meaning gets a new number.
const Schema = "camwarden.observation/1"

// Terms say what a survey looks for.
type Terms struct {
	Programs []string // names of the programs whose processes are looked at, whatever they do
	Cameras  []Camera // of the inventory
	Limits   Limits
	Go2rtc   *go2rtc.Client  // asked for its streams, with its own bounds; nil: none is configured
	Prefix   string          // of our streams in it
	Standing bool            // its streams may be meant to stay between rounds
	Keeper   *streams.Keeper // of our streams in it, for those who end what is left of them; nil: they are not asked for

	Blind  []Blind // what could not be read before the survey began: the configuration, a host's address
	Ledger error   // why the ledger could not be opened; nil when it was, or when there is none
	Server error   // why the configured go2rtc cannot be asked; nil when it can, or when none is configured
}

// Camera is what a survey knows of a camera of the inventory.
type Camera struct {
	ID           string         `json:"id"`
	Host         string         `json:"host"`
	Address      netip.AddrPort `json:"address,omitzero"` // invalid while the host does not resolve
	Port         uint16         `json:"port"`
	Model        string         `json:"model,omitempty"`
	Limit        int            `json:"limit"`
	LimitAssumed bool           `json:"limit_assumed,omitempty"`
}

// Limits are the cameras that a survey is about. The zero Limits are all there are.
type Limits struct {
	Prefixes  []netip.Prefix   `json:"prefixes,omitempty"`
	Addresses []netip.AddrPort `json:"addresses,omitempty"` // port 0 stands for any
}

// None reports whether there is no limit.
func (l Limits) None() bool { return len(l.Prefixes) == 0 && len(l.Addresses) == 0 }

// Cover reports whether an address is within the limits.
func (l Limits) Cover(a netip.AddrPort) bool {
	addr := a.Addr().Unmap().WithZone("")
	return l.None() ||
		slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) ||
		slices.ContainsFunc(l.Addresses, func(b netip.AddrPort) bool {
			return b.Addr() == addr && (b.Port() == 0 || b.Port() == a.Port())
		})
}

// Survey is one reading of everything on this host that has to do with cameras, ours or not. It holds no secret, and can
// be saved and judged again elsewhere. What could not be read stands in Blind; a list that is empty means that there was nothing.
type Survey struct {
	Schema      string       `json:"schema"`
	Host        string       `json:"host"`
	TakenAt     time.Time    `json:"taken_at"`
	UID         int          `json:"uid"` // who looked
	Limits      Limits       `json:"limits"`
	Cameras     []Camera     `json:"cameras"`
	Suspects    []Suspect    `json:"processes"`
	Connections []Connection `json:"connections"`
	Leases      []Note       `json:"leases"`
	Go2rtc      *Server      `json:"go2rtc"` // nil: none is configured
	Facts       Facts        `json:"facts"`
	Blind       []Blind      `json:"blind"`
	Table       int          `json:"table"` // processes in the table that was read
	Method      string       `json:"method"`
	Unsighted   bool         `json:"unsighted"`                // what matters for a verdict could not be read
	HidesOthers bool         `json:"hides_others,omitempty"`   // the processes of other users are kept from us (hidepid)
	HidesSince  int64        `json:"hides_since_ms,omitempty"` // age of the oldest capture of one frame that does not say where it reads from, its sockets closed to us

	Ours Observation `json:"-"` // the same reading of what is ours, for those who clear it; not saved
}

// Suspect is a process that is looked at: it runs one of the programs, holds a connection to a camera, or is ours.
type Suspect struct {
	ID         proc.Identity `json:"id"`
	Name       string        `json:"name"`                // as it calls itself, fit to be shown
	Program    string        `json:"program,omitempty"`   // the file it runs; empty: closed to us
	Configured bool          `json:"configured"`          // its name is one of the programs
	Disguised  bool          `json:"disguised,omitempty"` // it has that name, and runs a file of another
	State      string        `json:"state"`
	Waits      string        `json:"waits,omitempty"` // the kernel function it sleeps in
	StartedAt  time.Time     `json:"started_at"`
	AgeMS      int64         `json:"age_ms"`
	UID        uint32        `json:"uid"`
	Container  bool          `json:"container,omitempty"` // in a pid namespace below ours
	Parents    []Parent      `json:"parents"`             // from its parent upwards
	Memory     int64         `json:"rss_bytes"`
	CPUMS      int64         `json:"cpu_ms"`
	FDs        int           `json:"fds"`       // -1: closed to us
	Datagrams  int           `json:"datagrams"` // UDP sockets it holds; -1: not known

	Command string        `json:"command"`          // without secrets
	Secret  bool          `json:"secret,omitempty"` // its argument list held one
	Shape   cmdline.Shape `json:"shape"`
	Chooses bool          `json:"chooses,omitempty"` // a filter makes it choose its one frame
	Unseen  bool          `json:"unseen,omitempty"`  // an input does not say where it leads, and its sockets are closed to us
	Go2rtc  bool          `json:"go2rtc,omitempty"`  // go2rtc started it, or is an ancestor
	Targets []Target      `json:"targets"`           // the cameras it has to do with

	Lease string `json:"lease,omitempty"` // of this ledger, that names it
	Owner *Owner `json:"owner,omitempty"` // the camwarden that its mark names
}

// Target is a camera that a process has to do with.
type Target struct {
	Address netip.AddrPort `json:"address,omitzero"` // invalid when only a name is known
	Name    string         `json:"name"`             // host:port as written, or the address
}

// Parent is an ancestor of a process.
type Parent struct {
	PID       int       `json:"pid"`
	Name      string    `json:"name"`
	StartedAt time.Time `json:"started_at"`
}

// Owner is the camwarden behind a process of ours.
type Owner struct {
	PID      int           `json:"pid"`
	Presence proc.Presence `json:"presence"`
}

// Connection is one connection of this host to a camera.
type Connection struct {
	Local        netip.AddrPort `json:"local"`
	Remote       netip.AddrPort `json:"remote"`
	State        string         `json:"state"`
	UID          uint32         `json:"uid"`
	ReceiveQueue int            `json:"receive_queue"`
	SilentMS     *int64         `json:"silent_ms"`           // null: the kernel does not tell
	PID          int            `json:"pid"`                 // 0: not known
	Program      string         `json:"program"`             //
	Held         bool           `json:"held"`                // a process holds it; else the kernel is finishing it alone
	Container    bool           `json:"container,omitempty"` // in another network namespace
}

// Takes reports whether the camera counts the connection, see proc.Takes.
func (c Connection) Takes() bool { return proc.Takes(c.State) }

// HiddenOwner reports whether some process holds the connection and we cannot see which.
func (c Connection) HiddenOwner() bool { return c.PID == 0 && c.Held && c.Takes() }

// Note is a lease as a survey saves it.
type Note struct {
	ID       string         `json:"id"`
	Kind     ledger.Kind    `json:"kind"`
	Run      string         `json:"run"`
	Camera   string         `json:"camera"`
	Address  netip.AddrPort `json:"address,omitzero"`
	Name     string         `json:"name,omitempty"` // of the stream
	Owner    int            `json:"owner"`          // pid of the camwarden that wrote it
	Child    int            `json:"child"`          // pid of the process it names; 0: none
	Standing string         `json:"standing"`
	Presence proc.Presence  `json:"presence"`           // of the child
	LateMS   int64          `json:"late_ms"`            // past its deadline; negative while it is before
	Stays    bool           `json:"stays,omitempty"`    // a stream that is meant to stay between rounds
	Borrowed bool           `json:"borrowed,omitempty"` // a stream that is not ours, of which a run takes a picture
}

// Server is what was seen of the configured go2rtc.
type Server struct {
	URL     string          `json:"url"`
	Prefix  string          `json:"prefix"` // of our streams
	Version string          `json:"version"`
	Streams []go2rtc.Stream `json:"streams"`
	Why     string          `json:"why,omitempty"` // it could not be asked
}

// Held tells the connections that a process holds, of those that the survey is about. It is asked again and again, and
// thousands may be held: so it makes no list of them.
func (s Survey) Held(pid int) iter.Seq[Connection] {
	return func(yield func(Connection) bool) {
		for i := range s.Connections {
			if c := &s.Connections[i]; c.PID == pid && pid > 0 && !yield(*c) {
				return
			}
		}
	}
}

// Holds reports whether a process holds such a connection.
func (s Survey) Holds(pid int, such func(Connection) bool) bool {
	for c := range s.Held(pid) {
		if such(c) {
			return true
		}
	}
	return false
}

// Note returns the lease of that id.
func (s Survey) Note(id string) (Note, bool) {
	i := slices.IndexFunc(s.Leases, func(n Note) bool { return n.ID == id })
	if i < 0 || id == "" {
		return Note{}, false
	}
	return s.Leases[i], true
}

// CameraAt returns the name of the camera at an address: the id of the inventory, else the address itself.
func (s Survey) CameraAt(address netip.AddrPort) string {
	for _, c := range s.Cameras {
		if c.Address == address {
			return c.ID
		}
	}
	return address.String()
}

// Target returns the camera that the process has to do with, as an address or as it is written; empty when there is none.
func (p Suspect) Target() string {
	for _, t := range p.Targets {
		if t.Address.IsValid() {
			return t.Address.String()
		}
	}
	if len(p.Targets) > 0 {
		return p.Targets[0].Name
	}
	return ""
}

// CameraOf returns the name of the camera that the process has to do with; empty when there is none.
func (s Survey) CameraOf(p Suspect) string {
	for _, t := range p.Targets {
		if t.Address.IsValid() {
			return s.CameraAt(t.Address)
		}
	}
	return p.Target()
}

// Hides reports whether the kernel keeps processes from us, or where a capture of at least that age reads from, and
// somebody unseen holds a camera: then there is somebody that nothing can be said of.
func (s Survey) Hides(age time.Duration) bool {
	return (s.HidesOthers || s.HidesSince > 0 && s.HidesSince >= age.Milliseconds()) && slices.ContainsFunc(s.Connections, Connection.HiddenOwner)
}
