// Times as Go's time.Time reads them from JSON and writes them again: RFC 3339, to the nanosecond, without idle zeros.

/** What Go writes where there was no time, or `null`. */
export const zeroTime = '0001-01-01T00:00:00Z'
const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))$/

/** Undefined where `text` is not a time. */
export function goTime(text: string): string | undefined {
  const match = rfc3339.exec(text)
  if (match === null) return undefined
  const [, year, month, day, hour, minute, second, fraction = '', sign, zoneHour = '00', zoneMinute = '00'] = match
  const inRange =
    isWithin(month, 1, 12) &&
    isWithin(day, 1, daysIn(Number(year), Number(month))) &&
    isWithin(hour, 0, 23) &&
    isWithin(minute, 0, 59) &&
    isWithin(second, 0, 59) &&
    isWithin(zoneHour, 0, 23) &&
    isWithin(zoneMinute, 0, 59)
  if (!inRange) return undefined
  const digits = fraction.slice(0, 9).replace(/0+$/, '')
  const isUtc = sign === undefined || (zoneHour === '00' && zoneMinute === '00')
  const zone = isUtc ? 'Z' : `${sign}${zoneHour}:${zoneMinute}`
  return `${text.slice(0, 19)}${digits === '' ? '' : `.${digits}`}${zone}`
}

function isWithin(digits: string | undefined, least: number, most: number): boolean {
  return Number(digits) >= least && Number(digits) <= most
}

/** The calendar repeats every 400 years; JavaScript takes years below 100 for those of the last century. */
function daysIn(year: number, month: number): number {
  return new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()
}
