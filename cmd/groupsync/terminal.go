package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"groupsync/internal/wire"
)

// This file holds the colours and the progress that only a terminal gets. The rules are:
//
//   - An output that is piped or redirected has no colour and no progress.
//   - Colours are for stdout only. NO_COLOR switches them off (https://no-color.org:
//     any value but an empty one), and so does TERM=dumb.
//   - Progress is one line on stderr, and nothing of it is left at the end. TERM=dumb
//     switches it off, because such a terminal cannot erase a line.

// terminal returns the file descriptor of w, and whether w is a terminal that can show colours and
// erase a line.
func (p program) terminal(w io.Writer) (fd int, is bool) {
	f, is := w.(*os.File)
	if !is || p.lookup("TERM") == "dumb" {
		return 0, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// colors reports whether the report is shown in colour.
func (p program) colors() bool {
	_, is := p.terminal(p.stdout)
	return is && p.lookup("NO_COLOR") == ""
}

// progress shows the current step of a pass in one line. It is also the writer of the log, because
// the line must be erased before a line of the log. A nil progress shows nothing.
type progress struct {
	out   io.Writer
	width int // of the terminal

	mu    sync.Mutex
	doing string
	drawn bool      // the line is on the terminal now
	next  time.Time // before this time only the last count of a step is drawn
}

// redraw is the shortest time between two counts of progress on the terminal. The last count of a
// step is always drawn.
const redraw = 100 * time.Millisecond

// showProgress returns the progress for stderr, and replaces p.stderr by the progress. So the log
// is written through the progress, and no line of the log runs into the progress line. If stderr is
// no terminal, showProgress returns nil and changes nothing.
func showProgress(p *program) *progress {
	fd, is := p.terminal(p.stderr)
	if !is {
		return nil
	}
	width, _, err := term.GetSize(fd)
	if err != nil || width < 2 {
		width = 80
	}
	g := &progress{out: p.stderr, width: width}
	p.stderr = g
	return g
}

// hooks returns the functions by which a pass shows its progress.
func (g *progress) hooks() wire.Progress { return wire.Progress{Step: g.step, Count: g.count} }

// step shows the name of the step that begins.
func (g *progress) step(doing string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doing, g.next = doing, time.Time{}
	g.draw(doing + " …")
}

// count shows how many reads of the current step are finished. The parameter of is the number of all
// its reads.
func (g *progress) count(done, of int) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); done == of || !now.Before(g.next) {
		g.next = now.Add(redraw)
		g.draw(fmt.Sprintf("%s: %d of %d", g.doing, done, of))
	}
}

// end erases the progress line at the end of a pass.
func (g *progress) end() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.erase()
}

// Write writes lines of the log. It erases the progress line first.
func (g *progress) Write(lines []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.erase()
	return g.out.Write(lines)
}

// draw replaces the progress line. It cuts the line to less than the width of the terminal, because
// a line that wraps cannot be erased.
func (g *progress) draw(line string) {
	g.erase()
	runes := []rune("groupsync: " + line)
	_, _ = io.WriteString(g.out, string(runes[:min(len(runes), g.width-1)])) // a terminal that is gone must not end the pass
	g.drawn = true
}

func (g *progress) erase() {
	if g.drawn {
		_, _ = io.WriteString(g.out, "\r\x1b[K")
	}
	g.drawn = false
}
