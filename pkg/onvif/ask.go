package onvif

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostProfiles is how many profiles are asked for their addresses: those of a recorder with 64 channels.
const mostProfiles = 128

// ask makes all calls. A call that the device does not do ends no other; what ends the connection, or a log-in that is refused,
// ends all.
func (t *talk) ask() error {
	if err := t.setClock(); err != nil {
		return err
	}
	if err := t.findServices(); err != nil {
		return err
	}
	problem := t.findProfiles()
	if final(problem) {
		return problem
	}
	if err := t.identify(); final(err) {
		return first(problem, err)
	}
	return first(problem, t.findAddresses())
}

// final reports whether nothing more can be asked after this error.
func final(err error) bool {
	if err == nil || errors.Is(err, ErrXML) || errors.Is(err, ErrNotONVIF) || errors.Is(err, ErrNoService) || errors.Is(err, ErrFlood) {
		return false
	}
	var refusal *Fault
	return !errors.As(err, &refusal)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// setClock asks for the device's time, by which a token must be dated (ONVIF Core 5.9.4.3 lets everybody ask). A device that does
// not tell, or tells what cannot be, is taken to have our own.
func (t *talk) setClock() error {
	answer, err := t.call(t.target.Path, request{space: deviceNS, name: "GetSystemDateAndTime", open: true})
	if err != nil {
		if errors.Is(err, ErrWanted) || !final(err) && t.device.ONVIF {
			return nil
		}
		return err
	}
	utc := answer.find("UTCDateTime")
	number := func(name string, least, most int) int {
		n, err := strconv.Atoi(utc.say(name))
		if err != nil || n < least || n > most {
			return -1
		}
		return n
	}
	parts := []int{number("Year", 1970, 2200), number("Month", 1, 12), number("Day", 1, 31), number("Hour", 0, 23), number("Minute", 0, 59), number("Second", 0, 60)}
	if utc == nil || slices.Contains(parts, -1) {
		return nil
	}
	theirs := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC)
	t.clock = time.Until(theirs)
	t.device.ClockOff = t.clock.Round(time.Second)
	return nil
}

// findServices asks where the media services are: by GetServices, else as older devices tell it. A device that tells neither is
// asked at the usual paths.
func (t *talk) findServices() error {
	answer, err := t.call(t.target.Path, request{space: deviceNS, name: "GetServices", parameters: "<tds:IncludeCapability>false</tds:IncludeCapability>"})
	if final(err) && !errors.Is(err, ErrWanted) {
		return err
	}
	if err == nil {
		for _, service := range answer.all("Service") {
			switch path := t.servicePath(service.say("XAddr")); service.say("Namespace") {
			case mediaNS:
				t.media = path
			case media2NS:
				t.media2 = path
			}
		}
		if answer.find("Service") != nil {
			return nil
		}
	}
	answer, err = t.call(t.target.Path, request{space: deviceNS, name: "GetCapabilities", parameters: "<tds:Category>All</tds:Category>"})
	switch {
	case final(err) && !errors.Is(err, ErrWanted):
		return err
	case err != nil && !t.device.ONVIF:
		return err
	case err != nil:
		t.media = "/onvif/media_service"
		return nil //nolint:nilerr // it may have one without telling where
	}
	if media := answer.find("Media"); media != nil {
		t.media = t.servicePath(media.say("XAddr"))
	}
	return nil
}

// findProfiles asks for the profiles: of Media2, which knows H.265, else of Media.
func (t *talk) findProfiles() error {
	var problem error
	for _, service := range []struct{ space, path string }{{media2NS, t.media2}, {mediaNS, t.media}} {
		if service.path == "" {
			continue
		}
		path := service.path
		parameters := ""
		if service.space == media2NS {
			parameters = "<tr2:Type>All</tr2:Type>"
		}
		answer, err := t.call(path, request{space: service.space, name: "GetProfiles", parameters: parameters})
		if usual := "/onvif/media_service"; service.space == mediaNS && unsupported(err) && path != usual {
			path = usual // some name the device service for everything, and do not answer there
			answer, err = t.call(path, request{space: service.space, name: "GetProfiles"})
		}
		if final(err) {
			return err
		}
		if err != nil {
			problem = err
			continue
		}
		for _, p := range answer.all("Profiles") {
			if profile, ok := profileOf(p); ok {
				t.device.Profiles = append(t.device.Profiles, profile)
			}
		}
		if len(t.device.Profiles) > 0 {
			t.media, t.media2 = path, ""
			if service.space == media2NS {
				t.media, t.media2 = "", path
			}
			return nil
		}
	}
	if unsupported(problem) {
		return nil // a device without pictures, a door controller say
	}
	return problem
}

func unsupported(err error) bool {
	var f *Fault
	return errors.As(err, &f) && (strings.Contains(f.Code, "NotSupported") || strings.Contains(f.Code, "NotImplemented"))
}

// profileOf reads one profile of either service; false where it has no video.
func profileOf(p *element) (Profile, bool) {
	encoder := p.find("VideoEncoderConfiguration")
	if encoder == nil {
		encoder = p.find("VideoEncoder")
	}
	if encoder == nil || p.token == "" {
		return Profile{}, false
	}
	source := p.find("VideoSourceConfiguration")
	if source == nil {
		source = p.find("VideoSource")
	}
	number := func(name string) int {
		n, err := strconv.Atoi(encoder.say(name))
		if err != nil || n < 0 || n > 1<<16 {
			return 0
		}
		return n
	}
	return Profile{
		Token: p.token, Source: clean(source.say("SourceToken")), Codec: clean(strings.ToUpper(encoder.say("Encoding"))),
		Width: number("Width"), Height: number("Height"),
	}, true
}

// identify asks who made the device. Some let only administrators ask.
func (t *talk) identify() error {
	answer, err := t.call(t.target.Path, request{space: deviceNS, name: "GetDeviceInformation"})
	if err != nil {
		return err
	}
	t.device.Manufacturer, t.device.Model, t.device.Firmware = clean(answer.say("Manufacturer")), clean(answer.say("Model")), clean(answer.say("FirmwareVersion"))
	return nil
}

// findAddresses asks for the stream of each profile, and for the picture of the first profile of each source.
func (t *talk) findAddresses() error {
	var problem error
	pictured := map[string]bool{}
	for i := range t.device.Profiles[:min(len(t.device.Profiles), mostProfiles)] {
		p := &t.device.Profiles[i]
		uri, err := t.uri("GetStreamUri", p.Token)
		if final(err) {
			return err
		}
		if err != nil && !unsupported(err) {
			problem = first(problem, err)
		}
		p.Stream = t.place(uri, "rtsp", "rtsps")
		if pictured[p.Source] && p.Source != "" {
			continue
		}
		if uri, err = t.uri("GetSnapshotUri", p.Token); final(err) {
			return err
		}
		p.Snapshot = t.place(uri, "http", "https")
		pictured[p.Source] = p.Snapshot.Path != "" || unsupported(err)
	}
	return problem
}

// uri asks for one URI of a profile.
func (t *talk) uri(operation, token string) (string, error) {
	space, path, prefix := mediaNS, t.media, "trt"
	setup := ""
	if t.media2 != "" {
		space, path, prefix = media2NS, t.media2, "tr2"
	}
	if operation == "GetStreamUri" {
		setup = "<trt:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream><tt:Transport><tt:Protocol>RTSP</tt:Protocol></tt:Transport></trt:StreamSetup>"
		if t.media2 != "" {
			setup = "<tr2:Protocol>RTSP</tr2:Protocol>"
		}
	}
	answer, err := t.call(path, request{
		space: space, name: operation, parameters: setup + "<" + prefix + ":ProfileToken>" + escaped(token) + "</" + prefix + ":ProfileToken>",
	})
	if err != nil {
		return "", err
	}
	return answer.say("Uri"), nil
}
