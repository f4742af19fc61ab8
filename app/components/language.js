// Texts and numbers in the reader's language. LANGUAGE and TEXTS, the translations of the texts below, stand before this.
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]))

const _ = (text, values = {}) => filled(TEXTS[text] ?? text, values)

// a text for a number, which replaces {n}: English and German have one form for 1 and another for all others
function counted(one, many, n, values = {}) {
  const [single, several] = TEXTS[one] ?? [one, many]
  return filled(n === 1 ? single : several, { n: number(n), ...values })
}

// a time that a file tells: in ISO 8601, or whatever it has written
function dated(text) {
  const [year, month, day, time] = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d:.*)$/.exec(text ?? "")?.slice(1) ?? []
  return LANGUAGE === "de" && year ? `${day}.${month}.${year} ${time}` : text
}

// a number with so many digits after the decimal separator
function number(value, digits = 0) {
  return value.toLocaleString(LANGUAGE, { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
