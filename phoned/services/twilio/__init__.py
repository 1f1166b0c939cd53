"""``[twilio]``: the account under which programs that were written for Twilio know this phone."""
