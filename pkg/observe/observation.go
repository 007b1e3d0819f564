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
)

// Schema names what Save writes; a changed meaning gets a new number.
const Schema = "camwarden.observation/1"

// Observation is one reading of what on this host has to do with cameras, within a scope. It holds no secret, and can
// be saved and judged again elsewhere. What could not be read stands in Blind; a list that is empty means that there was nothing.
type Observation struct {
	Schema      string           `json:"schema"`
	Host        string           `json:"host"`
	TakenAt     time.Time        `json:"taken_at"`
	UID         int              `json:"uid"`             // who looked
	Lacks       []string         `json:"lacks,omitempty"` // of user 0: capabilities that it takes to see and to end all, see proc.Lacking
	Limits      Limits           `json:"limits"`
	Cameras     []Camera         `json:"cameras"`
	Processes   []Process        `json:"processes"`
	Connections []Connection     `json:"connections"`
	Servers     []netip.AddrPort `json:"servers,omitempty"` // addresses that are no cameras: a process of this host listens there
	Leases      []Lease          `json:"leases"`
	Go2rtc      *Server          `json:"go2rtc"` // nil: none is configured
	Facts       Facts            `json:"facts"`
	Blind       []Blind          `json:"blind"`
	Table       int              `json:"table"` // processes in the table that was read
	Method      string           `json:"method"`
	Unsighted   bool             `json:"unsighted"`                // what matters for a verdict could not be read
	HidesOthers bool             `json:"hides_others,omitempty"`   // the processes of other users are kept from us (hidepid)
	HidesSince  int64            `json:"hides_since_ms,omitempty"` // age of the oldest capture of one frame that does not say where it reads from, its sockets closed to us

	Self    proc.Identity `json:"-"` // who looked
	Relayed *Relayed      `json:"-"` // what is ours in a go2rtc, for those who end what is left of it; nil: it was not in the scope
}

// Process is one process that is looked at: it runs one of the programs, holds a connection to a camera, or is ours.
type Process struct {
	ID         proc.Identity `json:"id"`
	Name       string        `json:"name"`                // as it calls itself, fit to be shown
	Program    string        `json:"program,omitempty"`   // the file it runs; empty: closed to us
	Configured bool          `json:"configured"`          // its name is one of the programs
	Disguised  bool          `json:"disguised,omitempty"` // it has that name, and runs a file of another
	State      string        `json:"state"`
	Threads    int           `json:"threads,omitempty"`
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
	Foreign bool          `json:"foreign,omitempty"` // its command line has no grammar that we know
	Idle    bool          `json:"idle,omitempty"`    // it keeps nothing of what it reads: a probe
	ForMS   int64         `json:"for_ms,omitempty"`  // how much of the stream it takes; 0: there is no limit
	Chooses bool          `json:"chooses,omitempty"` // it may need many pictures for its one
	Why     string        `json:"chooses_why,omitempty"`
	Feeder  *Parent       `json:"feeder,omitempty"`    // it reads a pipe, and this process, which holds a camera, fills it
	Pushes  string        `json:"publishes,omitempty"` // where it sends a stream to, on the ports of cameras
	Unseen  bool          `json:"unseen,omitempty"`    // an input does not say where it leads, and its sockets are closed to us
	Go2rtc  bool          `json:"go2rtc,omitempty"`    // go2rtc started it, or is an ancestor
	Targets []Target      `json:"targets"`             // the cameras it has to do with

	Lease string `json:"lease,omitempty"` // of this ledger, that names it
	Owner *Owner `json:"owner,omitempty"` // the camwarden that its mark names
}

// Dead says that the process has ended and only waits for its parent to take note, see proc.Stat.Dead.
func (p Process) Dead() bool {
	return p.State != "" && proc.Stat{State: p.State[0], Threads: p.Threads}.Dead()
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
	Self     bool          `json:"-"` // it is the one that looked
}

// Connection is one connection of this host to a camera.
type Connection struct {
	Local        netip.AddrPort `json:"local"`
	Remote       netip.AddrPort `json:"remote"`
	State        string         `json:"state"`
	UID          uint32         `json:"uid"`
	ReceiveQueue int            `json:"receive_queue"`
	SilentMS     *int64         `json:"silent_ms"`           // null: the kernel does not tell
	Received     *int64         `json:"received_bytes"`      // null: the kernel does not tell
	PID          int            `json:"pid"`                 // 0: not known
	Program      string         `json:"program"`             //
	Held         bool           `json:"held"`                // a process holds it; else the kernel is finishing it alone
	Container    bool           `json:"container,omitempty"` // in another network namespace
}

// Takes reports whether the camera counts the connection, see proc.Takes.
func (c Connection) Takes() bool { return proc.Takes(c.State) }

// HiddenOwner reports whether some process holds the connection and we cannot see which.
func (c Connection) HiddenOwner() bool { return c.PID == 0 && c.Held && c.Takes() }

// Lease is one lease with what could be seen of it.
type Lease struct {
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

	Record ledger.Lease `json:"-"` // as the ledger has it, for those who strike it off
}

// Server is what was seen of the configured go2rtc.
type Server struct {
	URL     string          `json:"url"`
	Prefix  string          `json:"prefix"` // of our streams
	Version string          `json:"version"`
	Streams []go2rtc.Stream `json:"streams"`
	Why     string          `json:"why,omitempty"` // it could not be asked
}

// Held tells the connections that a process holds, of those that the observation is about. It is asked again and again, and
// thousands may be held: so it makes no list of them.
func (o Observation) Held(pid int) iter.Seq[Connection] {
	return func(yield func(Connection) bool) {
		for i := range o.Connections {
			if c := &o.Connections[i]; c.PID == pid && pid > 0 && !yield(*c) {
				return
			}
		}
	}
}

// Holds reports whether a process holds such a connection.
func (o Observation) Holds(pid int, such func(Connection) bool) bool {
	for c := range o.Held(pid) {
		if such(c) {
			return true
		}
	}
	return false
}

// Lease returns the lease of that id.
func (o Observation) Lease(id string) (Lease, bool) {
	i := slices.IndexFunc(o.Leases, func(n Lease) bool { return n.ID == id })
	if i < 0 || id == "" {
		return Lease{}, false
	}
	return o.Leases[i], true
}

// CameraAt returns the name of the camera at an address: the id of the inventory, else the address itself.
func (o Observation) CameraAt(address netip.AddrPort) string {
	for _, c := range o.Cameras {
		if c.Address == address {
			return c.ID
		}
	}
	return address.String()
}

// Target returns the camera that the process has to do with, as an address or as it is written; empty when there is none.
func (p Process) Target() string {
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
func (o Observation) CameraOf(p Process) string {
	for _, t := range p.Targets {
		if t.Address.IsValid() {
			return o.CameraAt(t.Address)
		}
	}
	return p.Target()
}

// Hides reports whether the kernel keeps processes from us, or where a capture of at least that age reads from, and
// somebody unseen holds a camera: then there is somebody that nothing can be said of.
func (o Observation) Hides(age time.Duration) bool {
	return (o.HidesOthers || o.HidesSince > 0 && o.HidesSince >= age.Milliseconds()) && slices.ContainsFunc(o.Connections, Connection.HiddenOwner)
}
