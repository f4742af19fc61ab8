// One file: its picture or player, timeline, lines and table. Text from files is set as textContent.
const LINGER_MS = 300 // who goes on sooner does not have the original read

class Viewer {
  constructor(data) {
    this.data = data
    this.thresholds = new Thresholds(data.legend, () => this.paint())
    this.stage = new Stage(data, time => this.tick(time))
    const seek = (time, play) => this.stage.seek(time, play)
    this.timeline = new Timeline(data, this.thresholds, seek, () => this.stage.time)
    this.stage.toMoment = forward => this.timeline.step(forward)
    this.lines = [[_("Said"), data.said], [_("Text read"), data.read]].filter(([, lines]) => lines.length)
      .map(([title, lines]) => new Lines(title, lines, data.words, this.thresholds, seek))
    const columns = make("div", "columns")
    const main = make("div", "main")
    const side = make("div", "side")
    const under = detections(data, this.stage.boxes, seek)
    main.append(this.stage.root, this.stage.told, this.stage.controls, this.thresholds.root, this.timeline.root)
    side.append(...this.lines.map(({ root }) => root), ...this.moments(), this.about())
    columns.append(main, side, under)
    const held = make("div", "held")
    held.append(columns)
    this.root = make("div", "viewer")
    this.root.append(this.bar(), make("h1", "", data.name), ...data.errors.map(line => make("p", "error", line)),
      ...data.notes.map(line => make("p", "note", line)), held)
    this.paint()
  }

  bar() {
    const bar = make("nav", "top")
    bar.setAttribute("aria-label", _("File"))
    const { back, where, previous, next, place } = this.data.ways
    const way = (text, href, title) => {
      if (href === null) return Object.assign(button("", text, () => {}), { disabled: true })
      const link = make("a", "", text)
      return Object.assign(link, { href, title, onclick: event => follow(event, href) })
    }
    if (back !== undefined) bar.append(way(`← ${where}`, back, _("Esc")))
    if (previous !== undefined) bar.append(way(_("Previous"), previous, _("Left arrow")), way(_("Next"), next, _("Right arrow")))
    if (place) bar.append(make("span", "place", place))
    bar.append(make("span", "gap"))
    if (this.data.kind !== "audio" && (this.data.source || this.data.poster)) bar.append(this.stage.reveal.lens, this.stage.reveal.eye)
    return bar
  }

  moments() {
    if (!this.data.moments.length) return []
    const section = make("section")
    const head = make("h2", "", _("Moments"))
    head.append(make("small", "", ` ${number(this.data.moments.length)}`))
    section.append(head, this.timeline.list())
    return [section]
  }

  about() {
    const section = make("section")
    const facts = make("dl")
    for (const [name, value] of this.data.facts) facts.append(make("dt", "", name), make("dd", "", value))
    section.append(make("h2", "", _("File")), facts)
    if (this.data.asset) this.asking = setTimeout(() => this.tellProperties(section), LINGER_MS)
    return section
  }

  // what the file says about itself, which the API reads from the original
  async tellProperties(section) {
    const answer = await fetch(`/api/properties/${this.data.asset}`).catch(() => undefined)
    if (!answer?.ok) return
    const said = await answer.json()
    const position = said.position?.map(degrees => degrees.toFixed(6)).join(", ")
    if (said.position) this.data.tell({ asset: this.data.asset, at: said.position })
    const altitude = said.altitude_m === null ? null : `${said.altitude_m.toLocaleString(LANGUAGE)} m`
    const main = [[_("Captured"), dated(said.captured_at)], [_("Camera"), said.camera], [_("Lens"), said.lens],
      [_("Position"), position], [_("Altitude"), altitude], [_("Software"), said.software]]
      .filter(([, value]) => value)
    const others = Object.entries(said.others)
    if (!main.length && !others.length) return
    const head = make("h2", "", _("What the file says about itself"))
    const list = entries => {
      const facts = make("dl")
      for (const [name, value] of entries) {
        const told = make("dd", "", value)
        if (value === position && navigator.clipboard) told.append(this.copyButton(value))
        facts.append(make("dt", "", name), told)
      }
      return facts
    }
    section.append(head, list(main))
    if (!others.length) return
    const more = make("details")
    more.append(make("summary", "", _("{n} more", { n: number(others.length) })), list(others))
    section.append(more)
  }

  copyButton(value) {
    const copy = button("copy", _("Copy"), async () => {
      await navigator.clipboard.writeText(value)
      copy.textContent = _("Copied")
    })
    return copy
  }

  tick(time) {
    this.timeline?.tick(time)
    for (const lines of this.lines ?? []) lines.tick(time)
  }

  paint() {
    const shows = (detector, score) => this.thresholds.shows(detector, score)
    this.stage.paint(shows)
    this.timeline.paint()
    for (const lines of this.lines) lines.paint()
    for (const row of this.root?.querySelectorAll("tr[data-detector]") ?? []) row.classList.toggle("off", !shows(row.dataset.detector, Number(row.dataset.score)))
  }

  end() {
    clearTimeout(this.asking)
    this.stage.end()
    this.root.remove()
    document.removeEventListener("keydown", this.listener)
    document.removeEventListener("keyup", this.listener)
  }

  key(event) {
    if (event.type === "keyup") return event.key.toLowerCase() === "h" ? this.stage.reveal.hold(false) : undefined
    const at = event.composedPath()[0]
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches?.("input, textarea, select, video, audio, [contenteditable]")) return
    const { stage, timeline } = this
    const { back, previous, next } = this.data.ways
    if (event.key === "Escape" && stage.region?.isOpen) return stage.region.close()
    const way = { Escape: back, ArrowLeft: previous, ArrowRight: next }[event.key]
    const act = {
      b: () => stage.reveal.toggle(),
      h: () => stage.reveal.hold(true),
      l: () => stage.reveal.toggleLens(),
      m: () => stage.toggleSound(),
      ",": () => stage.step(-1),
      ".": () => stage.step(1),
      "[": () => timeline.step(false),
      "]": () => timeline.step(true),
      "+": () => stage.zoom?.by(STEP),
      "=": () => stage.zoom?.by(STEP),
      "-": () => stage.zoom?.by(1 / STEP),
      z: () => stage.zoom?.toggle(),
      s: () => stage.region?.toggle(),
      " ": at.matches?.("button, a, summary, [role]") ? undefined : () => { stage.toggle(); event.preventDefault() },
      "/": () => { // without lines to search in, it leads to the Search page
        const field = this.root.querySelector(".find input")
        field?.focus()
        if (field) event.preventDefault()
      },
    }[event.key]
    if (way) follow(event, way)
    else act?.()
  }
}

const viewers = new WeakMap()

export default function (component) {
  const { data, parentElement } = component
  let viewer = viewers.get(parentElement)
  const key = JSON.stringify([data.file, data.ways])
  if (viewer?.drawn !== key) {
    viewer?.end()
    const tell = position => {
      // not once the way leads to another page: Streamlit would run this page with the address of that one
      const isHere = new URLSearchParams(location.search).get("asset") === data.file.asset
      if (data.tells && isHere) component.setStateValue("position", position)
    }
    viewer = new Viewer({ ...data.file, muted: data.muted, ways: data.ways, tell })
    viewer.drawn = key
    viewer.listener = event => viewer.key(event)
    document.addEventListener("keydown", viewer.listener)
    document.addEventListener("keyup", viewer.listener)
    viewers.set(parentElement, viewer)
    parentElement.append(viewer.root)
  }
  viewer.stage.reveal.look(data)
  return () => {
    viewers.get(parentElement)?.end()
    viewers.delete(parentElement)
  }
}
