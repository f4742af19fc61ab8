// The detectors of a file: which are shown, and from which score. What a reviewer chooses stays for the next files.
const chosen = { off: new Set(), least: new Map() } // detectors that are hidden; detector -> least score in hundredths

const hundredths = score => Math.floor(score * 100 + 1e-4)
const asScore = value => number(value / 100, 2)

class Thresholds {
  constructor(legend, changed) {
    this.changed = changed
    this.least = new Map(legend.map(({ detector, floor }) => [detector, chosen.least.get(detector) ?? hundredths(floor)]))
    this.root = make("div", "legend")
    this.root.setAttribute("role", "group")
    this.root.setAttribute("aria-label", _("Show what each detector found, from which score"))
    this.root.append(...legend.map(found => this.detector(found)))
  }

  shows(detector, score) {
    return !chosen.off.has(detector) && hundredths(score) >= (this.least.get(detector) ?? 0)
  }

  detector({ detector, count, color, scores }) {
    const known = Object.entries(scores).map(([score, times]) => [Number(score), times])
    const lowest = Math.min(...known.map(([score]) => score))
    const group = make("div", "found")
    const dot = make("span", "dot")
    const told = make("span")
    const toggle = button("", "", () => {
      if (!chosen.off.delete(detector)) chosen.off.add(detector)
      draw()
      this.changed()
    })
    dot.style.background = color
    toggle.append(dot, told)
    group.append(toggle)
    const value = make("output")
    const slider = make("input")
    Object.assign(slider, { type: "range", min: lowest, max: 100, step: 1, value: Math.max(lowest, this.least.get(detector)) })
    slider.setAttribute("aria-label", _("Least score of {detector}", { detector }))
    slider.oninput = () => {
      this.least.set(detector, Number(slider.value))
      chosen.least.set(detector, Number(slider.value))
      draw()
      this.changed()
    }
    const draw = () => {
      const least = this.least.get(detector)
      const shown = known.reduce((sum, [score, times]) => sum + (score >= least ? times : 0), 0)
      const share = shown === count ? number(count) : _("{n} of {total}", { n: number(shown), total: number(count) })
      told.textContent = `${detector} ${share}`
      toggle.setAttribute("aria-pressed", String(!chosen.off.has(detector)))
      value.textContent = _("from {score}", { score: asScore(Math.max(lowest, least)) })
      slider.setAttribute("aria-valuetext", asScore(Math.max(lowest, least)))
    }
    draw()
    group.append(slider, value)
    return group
  }
}
