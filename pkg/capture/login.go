package capture

import (
	"errors"
	"time"

	"github.com/camwarden/camwarden/pkg/brand"
	"github.com/camwarden/camwarden/pkg/camera"
	"github.com/camwarden/camwarden/pkg/fault"
	"github.com/camwarden/camwarden/pkg/lockout"
	"github.com/camwarden/camwarden/pkg/login"
)

// logIn is what the visit sends to the camera's address.
func (v Visit) logIn(cam camera.Camera) lockout.LogIn {
	return lockout.LogIn{Address: cam.Address, Username: cam.Username, Password: v.Password}
}

// noteLogIn remembers what a camera said to the log-in of a visit. A refusal from a camera that also says so when all its users are
// logged in, and that has accepted the very same within a day, is no refusal.
func (v Visit) noteLogIn(cam camera.Camera, err *fault.Error) *fault.Error {
	if cam.Username == "" && v.Password == "" {
		return err
	}
	b, known := brand.Get(cam.Brand)
	full := known && b.Has(brand.FullIs401)
	var problem error
	switch {
	case err == nil:
		problem = v.LogIns.Accepted(v.logIn(cam), full)
	case errors.Is(err, login.ErrRefused):
		if at, right := v.LogIns.Once(v.logIn(cam)); full && right {
			return fault.New(fault.Exhausted, err.Step, "%s refused a log-in that it accepted at %s, as cameras of %s do when all their users are logged in",
				cam.Address, at.Format(time.RFC3339), b.Name).WithHint("end other clients of this camera, or wait; has its password been changed since?")
		}
		problem = v.LogIns.Refused(v.logIn(cam))
	}
	if problem != nil && err != nil { // with a picture in hand it can wait
		noted := *err
		noted.Hint += "; this could not be noted for later runs: " + problem.Error()
		return &noted
	}
	return err
}
