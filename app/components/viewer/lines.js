// What was said or read, line by line: searched and marked.
const SHORTEST = 3 // letters of a word that is marked by itself

const escaped = text => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")

// What to mark in lines for words: them as they stand if a line has them so, else each of them.
function wanted(lines, words) {
  const parts = words.trim().split(/\s+/).filter(Boolean)
  if (!parts.length) return null
  const phrase = new RegExp(parts.map(escaped).join("\\s+"), "giu")
  if (lines.some(line => line.text.search(phrase) >= 0)) return phrase
  const long = parts.filter(part => part.length >= SHORTEST)
  return long.length && parts.length > 1 ? new RegExp(long.map(escaped).join("|"), "giu") : null
}

class Lines {
  constructor(title, lines, words, thresholds, seek) {
    this.lines = lines
    this.thresholds = thresholds
    this.seek = seek
    this.at = -1
    this.root = make("section")
    const head = make("h2", "", title)
    head.append(make("small", "", ` ${number(lines.length)}`))
    this.list = make("ul", "lines")
    this.list.tabIndex = -1
    this.items = lines.map(line => this.line(line))
    this.list.append(...this.items)
    this.root.append(head)
    if (lines.length > 1) this.root.append(this.search(title))
    this.root.append(this.list)
    this.mark(wanted(lines, words))
  }

  line(line) {
    const item = make("li")
    const row = line.time === null ? make("div") : button("", "", () => this.seek(line.time))
    const text = make("span", "text", line.text)
    if (line.time !== null) row.title = _("Play from here")
    row.append(make("span", "clock", line.clock), text, make("span", "score", number(line.score, 2)))
    item.append(row)
    return Object.assign(item, { line, row, text })
  }

  search(title) {
    const bar = make("div", "find")
    const field = make("input")
    field.type = "search"
    field.placeholder = _("Find in it")
    field.setAttribute("aria-label", _("Find in: {title}", { title }))
    this.count = make("output")
    field.oninput = () => {
      this.at = -1
      this.mark(wanted(this.lines, field.value))
      this.count.textContent = field.value.trim() ? this.hits().length ? number(this.hits().length) : _("nothing") : ""
      if (this.hits().length) this.go(1, false)
    }
    field.onkeydown = event => {
      if (event.key === "Enter") this.go(event.shiftKey ? -1 : 1)
      if (event.key === "Escape" && field.value) event.stopPropagation() // it empties the field, and does not leave the file
    }
    bar.append(field, this.count)
    return bar
  }

  hits() {
    return this.items.filter(item => !item.hidden && item.text.querySelector("mark"))
  }

  go(by, seek = true) {
    const hits = this.hits()
    if (!hits.length) return
    this.at = (this.at + by + hits.length) % hits.length
    const item = hits[this.at]
    this.count.textContent = _("{n} of {total}", { n: number(this.at + 1), total: number(hits.length) })
    this.show(item)
    for (const other of this.items) other.row.classList.toggle("found", other === item)
    if (seek && item.line.time !== null) this.seek(item.line.time, false)
  }

  mark(pattern) {
    for (const { line, text } of this.items) {
      text.replaceChildren()
      let at = 0
      for (const found of pattern ? line.text.matchAll(pattern) : []) {
        text.append(line.text.slice(at, found.index), make("mark", "", found[0]))
        at = found.index + found[0].length
      }
      text.append(line.text.slice(at))
    }
  }

  show(item) { // scrolls the list, not the page
    const { list } = this
    const top = item.offsetTop
    if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3
  }

  tick(time) {
    let current = null
    for (const item of this.items) if (item.line.time !== null && item.line.time <= time && time > 0) current = item
    if (current === this.current) return
    this.current?.row.classList.remove("current")
    current?.row.classList.add("current")
    this.current = current
    if (current && !this.list.matches(":hover, :focus-within")) this.show(current)
  }

  paint() {
    for (const item of this.items) item.hidden = !this.thresholds.shows(item.line.detector, item.line.score)
  }
}
