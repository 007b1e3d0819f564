package supervise

import "os"

// begin starts the process, and what will feed it.
func (c *child) begin() error {
	if c.spec.Later == nil {
		return c.cmd.Start()
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	c.cmd.Stdin = theirs
	err = c.cmd.Start()
	_ = theirs.Close() // the child has a copy, or there is no child
	if err != nil {
		_ = ours.Close()
		return err
	}
	go c.feed(ours)
	return nil
}

// feed hands the child what it shall read when that is there. It ends with the child at the latest: nobody has the other
// end of the pipe then, and a write fails (man 7 pipe).
func (c *child) feed(pipe *os.File) {
	select {
	case text := <-c.spec.Later:
		_, _ = pipe.Write(text) // a child that does not want all of it says so by its output
	case <-c.exited:
	}
	_ = pipe.Close()
}
