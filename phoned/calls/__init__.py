"""Calls as a person means them: the actor of one call, their manager, and the rules about whom to call and answer."""
