package round

import "github.com/camwarden/camwarden/pkg/ledger"

// Ending is how a visit ended, in a word: "ok", or the class of its error.
func (v Visit) Ending() string {
	if v.Error != nil {
		return string(v.Error.Class)
	}
	return "ok"
}

// Changed reports whether the visit ended otherwise than the camera's visit in the last round of the same subnets. Of a camera
// that had none only a failure is news.
func (r Report) Changed(v Visit) bool {
	before, known := r.before[v.Camera]
	if !known {
		return !v.OK
	}
	return before != v.Ending()
}

// loadEndings reads how the visits of the selection's last round ended, by camera.
func loadEndings(book *ledger.Ledger, key string) map[string]string {
	var endings map[string]string
	if found, err := book.Load("endings-"+key, &endings); err != nil || !found {
		return nil // an unreadable record makes old failures news once, and costs nothing else
	}
	return endings
}

func endings(visits []Visit) map[string]string {
	all := make(map[string]string, len(visits))
	for _, v := range visits {
		all[v.Camera] = v.Ending()
	}
	return all
}
