// Command filmcams shows one film on many cameras, each a running stream that clients join where it is, until its standard
// input ends. Asked by a line with a camera's number, it tells when that camera's key frames go.
//
// usage: filmcams CODEC FILM PICTURES-A-SECOND CAMERAS SPREAD [STILL USER PASSWORD]
// for example: filmcams h264 film.h264 15 100 2s
// With STILL, a JPEG, each also gives that over HTTP, at camsim's port for it; there and over RTSP it wants digest then.
// The cameras begin evenly over SPREAD, so that they do not all have their key frames at once.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/camwarden/camwarden/pkg/camsim"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "filmcams:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	stream, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	clip, err := camsim.ReadClip(camsim.Codec(args[0]), stream, rate)
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	spread, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	like := camsim.Config{Temper: camsim.Healthy, Clip: clip, JoinAnywhere: true}
	if len(args) > 7 {
		still, err := os.ReadFile(args[5])
		if err != nil {
			return err
		}
		like.Temper, like.Web, like.Still, like.Username, like.Password = camsim.Digest, camsim.WebDigest, string(still), args[6], args[7]
	}
	var cameras []*camsim.Camera
	var addresses []netip.AddrPort
	address, began := camsim.DrawSubnet().Addr(), time.Now()
	for i := range count {
		address = address.Next()
		time.Sleep(time.Until(began.Add(spread * time.Duration(i) / time.Duration(count))))
		like.Address = netip.AddrPortFrom(address, camsim.DefaultPort)
		camera, err := camsim.Start(like)
		if err != nil {
			return err
		}
		defer camera.Close()
		cameras, addresses = append(cameras, camera), append(addresses, camera.Address())
	}
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(addresses); err != nil {
		return err
	}
	questions := bufio.NewScanner(os.Stdin)
	for questions.Scan() {
		i, err := strconv.Atoi(questions.Text())
		if err != nil {
			return err
		}
		if err := answers.Encode(struct{ Last, Next time.Time }{cameras[i].LastKeyFrame(), cameras[i].NextKeyFrame()}); err != nil {
			return err
		}
	}
	return questions.Err()
}
