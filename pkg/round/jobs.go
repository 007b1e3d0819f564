package round

import "golang.org/x/sys/unix"

// How many visits go on at once where nobody says. Waiting for a camera is cheap, and decodes are held to the processors already.
const (
	mostJobs = 64
	// heavyJobs is the number where a visit is one whole ffmpeg, here or in go2rtc, for as long as it waits.
	heavyJobs = 8
)

// What a visit opens at most (a conversation and a pair of UDP ports, the pipes and the pidfd of an ffmpeg, a lease, a picture),
// and what the rest of the process does.
const (
	filesOfAVisit  = 12
	filesOfTheRest = 64
)

// jobs is how many visits go on at once: as many as the plan says, or as there are cameras, within reason.
func (r *runner) jobs() int {
	if r.plan.Jobs > 0 {
		return r.plan.Jobs
	}
	most := mostJobs
	if sources := r.chain.Sources(); len(sources) > 0 && (sources[0].Name() == "ffmpeg" || sources[0].Name() == "go2rtc") {
		most = heavyJobs
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		most = min(most, within(limit.Cur))
	}
	return max(1, min(most, len(r.cams)))
}

// within is how many visits may have their files open where so many are allowed.
func within(files uint64) int {
	if files <= filesOfTheRest+filesOfAVisit {
		return 1
	}
	return int(min((files-filesOfTheRest)/filesOfAVisit, mostJobs))
}
