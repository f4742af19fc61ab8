// Lanes: when each thing was found. Moments: when something new is there.
const LANES = 5 // of a detector, before the others are asked for

class Timeline {
  constructor(data, thresholds, seek, now) {
    this.data = data
    this.thresholds = thresholds
    this.seek = seek
    this.now = now // -> the current time in seconds
    const ends = data.lanes.flatMap(lane => lane.marks.map(mark => mark.end))
    this.length = data.seconds || ends.reduce((most, end) => Math.max(most, end), 1)
    this.marks = []
    this.moments = []
    this.root = make("div", "lanes")
    this.needle = make("span", "now")
    const needles = make("div", "needles")
    needles.append(this.needle)
    const by = new Map()
    for (const lane of data.lanes) by.set(lane.detector, [...by.get(lane.detector) ?? [], lane])
    this.groups = [...by.entries()].map(([detector, lanes]) => this.group(detector, lanes))
    if (this.groups.length) this.root.append(needles, ...this.groups)
  }

  group(detector, lanes) {
    const group = make("div", "of-detector")
    group.detector = detector
    group.append(...lanes.slice(0, LANES).map(lane => this.lane(lane)))
    const rest = lanes.length - LANES
    const beyond = lanes[0].left_out
    if (rest > 0) {
      const more = button("more", counted("{n} more of {detector}", "{n} more of {detector}", rest, { detector }), () => {
        more.replaceWith(...lanes.slice(LANES).map(lane => this.lane(lane)),
          ...(beyond ? [make("p", "hint", counted("{n} more of {detector} is in the export only.",
            "{n} more of {detector} are in the export only.", beyond, { detector }))] : []))
        this.paint()
      })
      group.append(more)
    }
    return group
  }

  lane(lane) {
    const row = make("div", "lane")
    const track = make("div", "track")
    const marks = lane.marks.map(mark => {
      const at = button("mark", "", event => this.seek(event.detail ? this.timeAt(track, event, mark) : mark.start))
      at.title = _("{what} {score} at {time}", { what: lane.text, score: number(mark.score, 2), time: clock(mark.start) })
      at.setAttribute("aria-label", `${lane.detector}: ${at.title}`)
      Object.assign(at.style, { left: `min(${mark.start / this.length * 100}%, 100% - 5px)`,
        width: `${(mark.end - mark.start) / this.length * 100}%`, background: lane.color })
      Object.assign(at, { detector: lane.detector, score: mark.score, start: mark.start })
      return at
    })
    this.marks.push(...marks)
    track.append(...marks)
    const who = button("who", lane.text, () => this.next(marks))
    who.title = _("{detector}: {what}. Go to the next time.", { detector: lane.detector, what: lane.text })
    row.append(who, track)
    row.marks = marks
    return row
  }

  timeAt(track, event, mark) {
    const box = track.getBoundingClientRect()
    const time = (event.clientX - box.left) / box.width * this.length
    return Math.min(mark.end, Math.max(mark.start, time))
  }

  next(marks) {
    const shown = marks.filter(mark => this.thresholds.shows(mark.detector, mark.score))
    // a click plays from BEFORE_S earlier, so that the mark itself is still ahead then
    const next = shown.find(mark => mark.start > this.now() + BEFORE_S + 0.05) ?? shown[0]
    if (next) this.seek(next.start)
  }

  list() {
    const list = make("ul", "lines")
    list.tabIndex = -1
    this.moments = this.data.moments.map(moment => {
      const item = make("li")
      const row = button("", "", () => this.seek(moment.time))
      const things = make("span", "text")
      item.parts = moment.things.map(thing => {
        const part = make("span", "thing")
        const dot = make("span", "dot")
        dot.style.background = thing.color
        part.title = `${thing.detector} ${number(thing.score, 2)}`
        part.append(dot, document.createTextNode(thing.text))
        return Object.assign(part, { detector: thing.detector, score: thing.score })
      })
      things.append(...item.parts)
      row.append(make("span", "clock", moment.clock), things)
      item.append(row)
      list.append(item)
      return Object.assign(item, { time: moment.time, row })
    })
    return list
  }

  step(forward) {
    const now = this.now()
    const shown = this.moments.filter(item => !item.hidden)
    const next = forward
      ? shown.find(item => item.time > now + BEFORE_S + 0.05)
      : shown.findLast(item => item.time < now + BEFORE_S - 0.5)
    if (next) this.seek(next.time, false)
  }

  tick(time) {
    this.needle.style.left = `${Math.min(100, time / this.length * 100)}%`
  }

  paint() {
    const shows = ({ detector, score }) => this.thresholds.shows(detector, score)
    for (const mark of this.marks) mark.hidden = !shows(mark)
    for (const group of this.groups) {
      for (const row of group.querySelectorAll(".lane")) row.hidden = row.marks.every(mark => mark.hidden)
      group.hidden = chosen.off.has(group.detector)
    }
    for (const item of this.moments) {
      for (const part of item.parts) part.hidden = !shows(part)
      item.hidden = item.parts.every(part => part.hidden)
    }
  }
}
