// The table of detections under a file. Hovering over a row highlights its box.
function detections(data, boxes, seek) {
  const under = make("div", "under")
  if (!data.rows.length) {
    under.append(make("p", "hint", data.errors.length ? _("Nothing could be analysed.") : _("Nothing was found in this file.")))
    return under
  }
  const timed = data.rows.some(row => row.time !== null)
  const reasoned = data.rows.some(row => row.why)
  const head = make("tr")
  const columns = [[_("Detector")], [_("Label")], [_("Score"), "number"], ...(timed ? [[_("Time"), "number"]] : []),
    [_("Text")], ...(reasoned ? [[_("Why")]] : []), [_("Model")]]
  for (const [name, side = ""] of columns) {
    const cell = make("th", side, name)
    cell.scope = "col"
    head.append(cell)
  }
  const thead = make("thead")
  const body = make("tbody")
  const table = make("table")
  thead.append(head)
  body.append(...data.rows.map(row => line(row, timed, reasoned, boxes[row.box], seek)))
  table.append(thead, body)
  const scroll = make("div", "scroll")
  scroll.tabIndex = 0
  scroll.setAttribute("role", "region")
  scroll.setAttribute("aria-label", _("Detections"))
  scroll.append(table)
  under.append(make("h2", "", _("Detections")), scroll)
  if (data.rows_left_out) under.append(make("p", "hint", counted("{n} more is not shown; the export contains all.",
    "{n} more are not shown; the export contains all.", data.rows_left_out)))
  return under
}

function line(row, timed, reasoned, box, seek) {
  const line = make("tr")
  Object.assign(line.dataset, { detector: row.detector, score: row.score })
  const dot = make("span", "dot")
  dot.style.background = row.color
  const who = make("td")
  who.append(dot, document.createTextNode(row.detector))
  const when = make("td", "number")
  if (row.time !== null) when.append(button("", row.clock, () => seek(row.time)))
  line.append(who, make("td", "", row.label), make("td", "number", number(row.score, 2)), ...(timed ? [when] : []),
    make("td", "text", row.text), ...(reasoned ? [make("td", "why", row.why)] : []), make("td", "model", row.model))
  line.onmouseenter = () => box?.classList.add("lit")
  line.onmouseleave = () => box?.classList.remove("lit")
  return line
}
