package round_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/camsim"
	"github.com/camwarden/camwarden/pkg/capture"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/ffmpeg"
	"github.com/camwarden/camwarden/pkg/proc"
	"github.com/camwarden/camwarden/pkg/round"
	"github.com/camwarden/camwarden/pkg/slot"
	"github.com/camwarden/camwarden/pkg/testkit"
)

// ending is how the visit of a camera of that temper must end. An empty class is a still.
type ending struct {
	class fault.Class
	steps []fault.Step // any of these; ffmpeg's words cannot tell every step apart
}

// byFFmpeg is one row a temper, for the source ffmpeg.
func byFFmpeg() map[camsim.Temper]ending {
	unknown := fault.Step("")
	return map[camsim.Temper]ending{
		camsim.Healthy: {}, camsim.Digest: {}, camsim.Basic: {}, camsim.Slow: {}, camsim.LimitedSlots: {}, camsim.LingeringSlots: {},

		camsim.LongGOP:         {fault.Timeout, []fault.Step{fault.KeyFrame}},
		camsim.LateKeyFrame:    {fault.Timeout, []fault.Step{fault.KeyFrame}},
		camsim.Refuses:         {fault.Refused, []fault.Step{fault.Connect}},
		camsim.DropsSYN:        {fault.Timeout, []fault.Step{fault.Connect}},
		camsim.ClosesAtConnect: {fault.Closed, []fault.Step{unknown, fault.Connect}},
		camsim.MuteAtConnect:   {fault.Timeout, []fault.Step{unknown}},
		camsim.MuteAtOptions:   {fault.Timeout, []fault.Step{unknown}},
		camsim.MuteAtDescribe:  {fault.Timeout, []fault.Step{unknown, fault.Describe}},
		camsim.MuteAtSetup:     {fault.Timeout, []fault.Step{fault.Setup}},
		camsim.MuteAtPlay:      {fault.Timeout, []fault.Step{fault.Play}},
		camsim.ClosesAtPlay:    {fault.Exhausted, []fault.Step{fault.Play}},
		camsim.ResetsAtPlay:    {fault.Exhausted, []fault.Step{fault.Play}},
		camsim.SilentAfterPlay: {fault.Timeout, []fault.Step{fault.Media}},
		camsim.RTCPOnly:        {fault.Timeout, []fault.Step{fault.Media}},
		camsim.ResetsMidFrame:  {fault.Decode, []fault.Step{fault.Decoding}}, // ffmpeg decodes the half it got, and says so
		camsim.WrongPassword:   {fault.Auth, []fault.Step{fault.Describe}},
		camsim.NotFound:        {fault.NotFound, []fault.Step{fault.Describe}},
		camsim.BusyAtSetup:     {fault.Exhausted, []fault.Step{fault.Setup}},
		camsim.Unavailable:     {fault.Exhausted, []fault.Step{fault.Describe}},
		camsim.Redirects:       {fault.Protocol, []fault.Step{unknown, fault.Describe}},
		camsim.GarbageAnswers:  {fault.Timeout, []fault.Step{unknown}}, // ffmpeg reads on for an answer that makes sense
		camsim.GarbageMedia:    {fault.Timeout, []fault.Step{fault.Media, fault.KeyFrame}},
	}
}

// byRTSP is one row a temper, for the source rtsp, which knows every step.
func byRTSP() map[camsim.Temper]ending {
	at := func(class fault.Class, step fault.Step) ending { return ending{class, []fault.Step{step}} }
	return map[camsim.Temper]ending{
		camsim.Healthy: {}, camsim.Digest: {}, camsim.Basic: {}, camsim.Slow: {}, camsim.LimitedSlots: {}, camsim.LingeringSlots: {},

		camsim.LongGOP:         at(fault.Timeout, fault.KeyFrame),
		camsim.LateKeyFrame:    at(fault.Timeout, fault.KeyFrame),
		camsim.Refuses:         at(fault.Refused, fault.Connect),
		camsim.DropsSYN:        at(fault.Timeout, fault.Connect),
		camsim.ClosesAtConnect: at(fault.Closed, fault.Options),
		camsim.MuteAtConnect:   at(fault.Timeout, fault.Options),
		camsim.MuteAtOptions:   at(fault.Timeout, fault.Options),
		camsim.MuteAtDescribe:  at(fault.Timeout, fault.Describe),
		camsim.MuteAtSetup:     at(fault.Timeout, fault.Setup),
		camsim.MuteAtPlay:      at(fault.Timeout, fault.Play),
		camsim.ClosesAtPlay:    at(fault.Exhausted, fault.Play),
		camsim.ResetsAtPlay:    at(fault.Exhausted, fault.Play),
		camsim.SilentAfterPlay: at(fault.Timeout, fault.Media),
		camsim.RTCPOnly:        at(fault.Timeout, fault.Media),
		camsim.ResetsMidFrame:  at(fault.Closed, fault.KeyFrame),
		camsim.WrongPassword:   at(fault.Auth, fault.Describe),
		camsim.NotFound:        at(fault.NotFound, fault.Describe),
		camsim.BusyAtSetup:     at(fault.Exhausted, fault.Setup),
		camsim.Unavailable:     at(fault.Exhausted, fault.Describe),
		camsim.Redirects:       at(fault.Protocol, fault.Describe),
		camsim.GarbageAnswers:  at(fault.Protocol, fault.Options),
		camsim.GarbageMedia:    at(fault.Protocol, fault.Media),
	}
}

// This and the next have nothing of their package beside them: eight visits at once are enough for a small host.
func TestRound_tempersEndInTime(t *testing.T) {
	visitEveryTemper(t, byFFmpeg(), nil)
}

func TestRound_rtspNamesEveryStep(t *testing.T) {
	sim := visitEveryTemper(t, byRTSP(), func(b *bench) []capture.Source {
		return []capture.Source{capture.NewRTSP("ffmpeg", ffmpeg.Picturing{}, b.supervisor, slot.Table{Ledger: b.book, FS: proc.Default()})}
	})
	for _, cam := range sim.Cameras {
		c := cam.Counts()
		if c.Followed > 0 {
			t.Errorf("%s: the redirect was followed", cam.Name())
		}
		if dials := c.ConnectionsTotal; c.Challenges > dials || c.Logins+c.LoginsFailed > dials {
			t.Errorf("%s: %d dials, %d challenges, %d log-ins, %d refused log-ins; one log-in a dial at most", cam.Name(), dials, c.Challenges, c.Logins, c.LoginsFailed)
		}
		hungUp := slices.Contains([]camsim.Temper{camsim.ClosesAtPlay, camsim.ResetsAtPlay, camsim.ResetsMidFrame}, cam.Temper())
		if c.Teardowns < c.SessionsTotal && !hungUp { // nobody says good-bye to a camera that has gone
			t.Errorf("%s: %d sessions, %d of them ended by TEARDOWN", cam.Name(), c.SessionsTotal, c.Teardowns)
		}
	}
}

// visitEveryTemper visits one camera of every temper, each beside a healthy one, in one round. Nil sources are the bench's own.
func visitEveryTemper(t *testing.T, want map[camsim.Temper]ending, sources func(*bench) []capture.Source) *camsim.Subnet {
	t.Helper()
	const timeout, grace, limit = 3 * time.Second, time.Second, 2
	var configs []camsim.Config
	few := []camsim.Temper{camsim.Healthy, camsim.WrongPassword, camsim.Refuses, camsim.MuteAtDescribe, camsim.SilentAfterPlay, camsim.ResetsMidFrame}
	for _, temper := range testkit.Some(camsim.Tempers(), few...) {
		if _, listed := want[temper]; !listed {
			t.Errorf("nobody says how a visit of a camera that is %q must end", temper)
		}
		c := camsim.Config{Name: string(temper), Temper: temper}
		if temper == camsim.Digest || temper == camsim.Basic || temper == camsim.WrongPassword {
			c.Username, c.Password = "warden", "p@ss/w#rd%&'ü"
		}
		switch temper { // no key frame for as long as this test may take
		case camsim.LateKeyFrame:
			c.Delay = 5 * time.Minute
		case camsim.LongGOP:
			c.GOP = time.Minute
		}
		configs = append(configs, c, camsim.Config{Name: "beside-" + string(temper), Temper: camsim.Healthy})
	}
	sim, err := camsim.StartSubnet(camsim.DrawSubnet(), configs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	var cameras []camera.Camera
	for i, c := range sim.Cameras {
		cam := at(c.Name(), c.Address())
		cam.MaxConnections = limit
		if configs[i].Password != "" {
			cam.Username, cam.Password = configs[i].Username, camera.PlainSecret(configs[i].Password)
		}
		cameras = append(cameras, cam)
	}
	b := setUp(t, cameras...)
	if sources != nil {
		b.deps.Sources = sources(b)
	}
	// Eight visits at once on a host that is busy with other things: a time-out of three seconds can then be the host's
	// doing. So who ended oddly is visited again with nothing beside it, at last with more time, and has to be right.
	b.plan.Deadline = 5 * time.Minute
	for i, timeout := range []time.Duration{timeout, timeout, 3 * timeout} {
		last := i == 2
		b.plan.Timeout, b.plan.Jobs = timeout, 1
		if i == 0 {
			b.plan.Jobs = 8
		}
		report := b.run()
		mustBeClean(t, report)
		var again []camera.Camera
		for _, v := range report.Visits {
			switch wrong := judge(v, want[sim.Camera(v.Camera).Temper()], timeout+grace); {
			case wrong == "":
			case last:
				t.Error(wrong)
			default:
				again = append(again, cameras[slices.IndexFunc(cameras, func(c camera.Camera) bool { return c.ID == v.Camera })])
				t.Logf("once more, alone: %s", wrong)
			}
		}
		if b.plan.Selection.Cameras = again; len(again) == 0 {
			break
		}
	}
	for _, c := range sim.Cameras {
		if n := c.Counts().ConnectionsMost; n > limit {
			t.Errorf("%s: %d connections at once, the limit is %d", c.Name(), n, limit)
		}
	}
	nothingConnected(t, sim)
	return sim
}

// judge says what is wrong with how a visit ended; empty when nothing is.
func judge(v round.Visit, want ending, limit time.Duration) string {
	switch {
	case v.DurationMS > limit.Milliseconds():
		return fmt.Sprintf("%s: the visit took %d ms, with its grace it may take %s", v.Camera, v.DurationMS, limit)
	case want.class == "" && !v.OK:
		return fmt.Sprintf("%s: no still: %+v", v.Camera, *v.Error)
	case want.class != "" && v.OK:
		return v.Camera + ": a still, where there can be none"
	case want.class != "" && (v.Error.Class != want.class || !slices.Contains(want.steps, v.Error.Step)):
		return fmt.Sprintf("%s: class %q at step %q (%s), want %q at one of %q", v.Camera, v.Error.Class, v.Error.Step, v.Error.Message, want.class, want.steps)
	case want.class != "" && v.Error.Message == "":
		return v.Camera + ": failed without a word"
	}
	return ""
}

// nothingConnected asks both sides: the kernel for connections to the subnet, the cameras for clients.
func nothingConnected(t *testing.T, sim *camsim.Subnet) {
	t.Helper()
	ports := []uint16{sim.Cameras[0].Address().Port()}
	sockets, err := proc.Default().Connections(ports)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sockets.Conns {
		if sim.Prefix.Contains(c.Remote.Addr()) && (c.State == proc.Established || c.State == proc.SynSent) {
			t.Errorf("the kernel still shows %s -> %s (%s)", c.Local, c.Remote, c.State)
		}
	}
	for _, c := range sim.Cameras {
		open := c.Counts().Connections
		for range 300 { // the camera's side notices a little later
			if open = c.Counts().Connections; open == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if open > 0 {
			t.Errorf("%s still has %d clients", c.Name(), open)
		}
	}
}

func TestCamerasThatShareAnAddressShareItsSlots(t *testing.T) {
	t.Parallel()
	sim, err := camsim.Start(camsim.Config{Temper: camsim.LateKeyFrame, Delay: 700 * time.Millisecond}) // so that visits last
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	var cameras []camera.Camera
	for _, id := range []string{"channel1", "channel2", "channel3", "channel4", "channel5"} {
		cameras = append(cameras, at(id, sim.Address()))
	}
	b := setUp(t, cameras...)
	b.plan.Timeout = 30 * time.Second
	report := b.run()
	mustBeClean(t, report)
	if report.Summary.OK != len(cameras) {
		t.Errorf("%+v", report.Summary)
	}
	if c := sim.Counts(); c.ConnectionsMost > 2 {
		t.Errorf("five channels of one recorder had %d connections at once, its limit is 2", c.ConnectionsMost)
	}
}

func TestRound_fullAddressIsNotDialled(t *testing.T) {
	t.Parallel()
	sim, err := camsim.Start(camsim.Config{Temper: camsim.Healthy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	holder := hold(t, sim.Address(), 2)
	b := setUp(t, at("gate", sim.Address()))
	report := b.run()
	mustBeClean(t, report)
	v := report.Visits[0]
	if !v.Skipped || v.Error.Class != fault.Exhausted || !containsPID(v.Error.Message, holder) {
		t.Errorf("%+v (%+v), want it skipped as exhausted, naming pid %d", v, *v.Error, holder)
	}
	if n := sim.Counts().ConnectionsTotal; n != 2 {
		t.Errorf("the camera saw %d connections, want the holder's two only", n)
	}
}
