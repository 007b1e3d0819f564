package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/camwarden/camwarden/pkg/camsim"
)

// mixture is the subnet of --mixed: what a house full of cameras looks like on a bad day.
const mixture = "gate=healthy,yard=digest:admin:Yard%402026,porch=basic:admin:porch-2026/picture=1," +
	"hall=slots/slots=2/full=close/picture=2,lobby=slow/delay=150ms/picture=3,garden=late-key-frame/delay=1500ms," +
	"dock=healthy/picture=1/http=open,ramp=healthy/picture=2/http=stream," +
	"pond=mute:pond:Pond2026/http=digest/picture=3,kiln=silent-after-play:kiln:Kiln2026/http=self-signed,mill=healthy/http=html," +
	"shed=mute,attic=mute-at-play,cellar=refuses,roof=drops-syn,barn=closes-at-play,lane=silent-after-play," +
	"stairs=rtcp-only,office=wrong-password:admin:wrong-2026,lift=busy-at-setup"

// name is what camwarden takes for a camera's id, in ASCII.
var name = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// parseCameras reads a list of camera specifications; an empty list is none.
func parseCameras(list string) ([]camsim.Config, error) {
	var configs []camsim.Config
	for spec := range strings.SplitSeq(list, ",") {
		if spec = strings.TrimSpace(spec); spec == "" {
			continue
		}
		more, err := parseCamera(spec)
		if err != nil {
			return nil, fmt.Errorf("camera %q: %w", shown(spec), err)
		}
		configs = append(configs, more...)
	}
	return configs, nil
}

// shown is a specification without its password.
func shown(spec string) string {
	head, options, _ := strings.Cut(spec, "/")
	if parts := strings.SplitN(head, ":", 3); len(parts) == 3 {
		head = parts[0] + ":" + parts[1] + ":***"
	}
	if options != "" {
		head += "/" + options
	}
	return head
}

// parseCamera reads NAME[*N]=TEMPER[:USER[:PASSWORD]][/OPTION=VALUE...].
func parseCamera(spec string) ([]camsim.Config, error) {
	label, rest, ok := strings.Cut(spec, "=")
	if !ok {
		return nil, fmt.Errorf("not NAME=TEMPER")
	}
	label, times, many := strings.Cut(label, "*")
	count := 1
	if many {
		var err error
		if count, err = strconv.Atoi(times); err != nil || count < 1 {
			return nil, fmt.Errorf("%q is not a number of cameras", times)
		}
	}
	if !name.MatchString(label) {
		return nil, fmt.Errorf("the name %q is not made of letters, digits, dot, dash and underscore", label)
	}
	parts := strings.Split(rest, "/")
	wish, err := parseTemper(parts[0])
	if err != nil {
		return nil, err
	}
	for _, option := range parts[1:] {
		if err := setOption(options(), &wish, option); err != nil {
			return nil, err
		}
	}
	config, err := wish.config()
	if err != nil {
		return nil, err
	}
	configs := make([]camsim.Config, count)
	for i := range configs {
		configs[i] = config
		configs[i].Name = label
		if many {
			configs[i].Name = label + strconv.Itoa(i+1)
		}
	}
	return configs, nil
}

// parseTemper reads TEMPER[:USER[:PASSWORD]].
func parseTemper(text string) (wish, error) {
	temper, login, _ := strings.Cut(text, ":")
	config := wish{Config: camsim.Config{Temper: camsim.Temper(temper)}}
	if config.Temper.Sentence() == "" {
		return config, fmt.Errorf("unknown temper %q; camsim -h lists them", temper)
	}
	user, password, _ := strings.Cut(login, ":")
	var err error
	if config.Username, err = url.PathUnescape(user); err != nil {
		return config, fmt.Errorf("user name: %w", err)
	}
	if config.Password, err = url.PathUnescape(password); err != nil {
		return config, fmt.Errorf("the password is not percent-encoded well") // the error of the library would show it
	}
	return config, nil
}
