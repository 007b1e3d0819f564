package archive_test

import (
	"testing"
	"time"

	"github.com/camwarden/camwarden/pkg/archive"
)

func template(t testing.TB, text string) archive.Template {
	t.Helper()
	tpl, err := archive.NewTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func TestTemplate_namesAndReadsBack(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 3, 4, 5, 678e6, time.UTC)
	for text, want := range map[string]string{
		archive.DefaultTemplate:                    "gate-1/20261129T030405.678Z.jpg",
		"{camera}/{date}/{time}.jpg":               "gate-1/2026-11-29/030405.678Z.jpg",
		"{year}/{month}/{day}/{camera}-{time}.jpg": "2026/11/29/gate-1-030405.678Z.jpg",
		"{date}/{hour}/{camera}.{datetime}.jpg":    "2026-11-29/03/gate-1.20261129T030405.678Z.jpg",
	} {
		tpl := template(t, text)
		if got := tpl.Path("gate-1", at); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		camera, got, ok := tpl.Parse(want)
		if !ok || camera != "gate-1" || !got.Equal(at) {
			t.Errorf("%s: read back %q, %v, %v", text, camera, got, ok)
		}
	}
}

func TestTemplate_doesNotReadForeignNames(t *testing.T) {
	t.Parallel()
	for text, names := range map[string][]string{
		archive.DefaultTemplate: {
			"gate/latest.jpg", "gate/20261129T030405.678Z.jpg.bak", "gate/20261129T030405.678Z.jpeg", "gate/x/20261129T030405.678Z.jpg",
			"20261129T030405.678Z.jpg", "/20261129T030405.678Z.jpg", "gate/20261329T030405.678Z.jpg", "gate/20260230T030405.678Z.jpg",
			"gate/20261129T250405.678Z.jpg", "gate/2026112xT030405.678Z.jpg", "gate/20261129 030405.678Z.jpg", "", "gate/",
		},
		"{date}/{camera}.{datetime}.jpg": {"2026-11-28/gate.20261129T030405.678Z.jpg"}, // the two dates disagree
	} {
		for _, name := range names {
			if camera, at, ok := template(t, text).Parse(name); ok {
				t.Errorf("%s: %q read as %q, %v", text, name, camera, at)
			}
		}
	}
}

func TestTemplate_refusesWhatLosesStills(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "{camera}.jpg", "{datetime}.jpg", "{camera}/{time}.jpg", "{camera}/{date}.jpg", "{camera}/{datetime}", "{camera}/{datetime}.png",
		"/{camera}/{datetime}.jpg", "../{camera}/{datetime}.jpg", "{camera}//{datetime}.jpg", ".{camera}/{datetime}.jpg",
		"{camera}/{camera}/{datetime}.jpg", "{camera/{datetime}.jpg", "camera}/{datetime}.jpg", "{camera}/{week}/{datetime}.jpg", "{camera}/{datetime}\x00.jpg",
	} {
		if _, err := archive.NewTemplate(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzTemplateParse(f *testing.F) {
	f.Add(archive.DefaultTemplate, "gate/20261129T030405.678Z.jpg")
	f.Add("{year}/{month}/{day}/{camera}-{time}.jpg", "2026/11/29/gate-1-030405.678Z.jpg")
	f.Fuzz(func(t *testing.T, text, name string) {
		tpl, err := archive.NewTemplate(text)
		if err != nil {
			return
		}
		if camera, at, ok := tpl.Parse(name); ok && tpl.Path(camera, at) != name {
			t.Errorf("%q by %q: read as %q, %v, which is written %q", name, text, camera, at, tpl.Path(camera, at))
		}
	})
}
