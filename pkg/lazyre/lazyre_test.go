package lazyre_test

import (
	"regexp"
	"sync"
	"testing"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

func TestEveryCallerGetsTheSameExpression(t *testing.T) {
	t.Parallel()
	stream := lazyre.New(`stream(\d)`)
	got := make([]*regexp.Regexp, 8)
	var group sync.WaitGroup
	for i := range got {
		group.Go(func() { got[i] = stream.Get() })
	}
	group.Wait()
	for _, re := range got {
		if re == nil || re != got[0] {
			t.Fatal("compiled more than once, or not at all")
		}
	}
	if found := got[0].FindStringSubmatch("/stream2"); len(found) != 2 || found[1] != "2" {
		t.Errorf("found %q", found)
	}
}

func TestAPatternThatIsNoneIsNotOverlooked(t *testing.T) {
	t.Parallel()
	broken := lazyre.New(`(`)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	broken.Get()
}
