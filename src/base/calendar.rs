//! The Gregorian calendar.

/// Year, month (1 to 12) and day (1 to 31) of a day, counted from 1970-01-01 and not before it.
pub const fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let (month, year) = if march_month < 10 {
        (march_month + 3, year_of_era + era * 400)
    } else {
        (march_month - 9, year_of_era + era * 400 + 1)
    };
    (year, month, day)
}
