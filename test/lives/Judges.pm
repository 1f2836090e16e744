# The judges.  They look at the emulator's books (Books.pm) and at what the actors did; from our tables they take no more
# than what was promised to a caller (the row of a request) and what was said about a step (history).
#
# A judge objects only to what design.md forbids.  Where it cannot know, it is silent: a false alarm costs more than a
# seed.  Each objection has a class, "judge: kind", by which lives are shrunk and counted.
package Judges;

use strict;
use warnings;

use constant { MINUTE => 60, HOUR => 3600, DAY => 86400, MOMENT => 3 };

sub new
{
	my ($class, %options) = @_;
	my $self = bless { %options, objections => [], seen => {}, wishes => {}, weather => [], transactions => [], decisions => [], after_race => [],
		settings => {}, rules => {}, debts => {}, refusals => 0, disconnected_at => {}, locations => {}, reads => 0 }, $class;
	my $o = $options{life}{scenario}{options};
	my ($lag) = sort { $b <=> $a } map { $o->{$_} // 0 } qw(report_delay_active report_delay_consumed provisioning_delay);
	$self->{lag} = $lag + 2 * MINUTE;
	$self->{order_delay} = $o->{order_delay} // 0;
	for my $c (@{ $options{life}{customers} })
	{
		$self->{settings}{ $c->{name} } = [ { at => 0, purchases => 'true', auto_license_adjustment => 'false', auto_increment => 'false', partner_center_sync => 'true', paused => 'false',
			spare_seats => 0 } ];
	}
	return $self;
}

sub ready
{
	my ($self) = @_;
	$self->{ready} = 1;
	# changes that are accepted for later have no entry yet
	$self->{books}{always} = grep { ($_->{what} // '') eq 'accepted' } @{ $self->{life}{steps} };
	$self->{books}->read;
	return;
}

sub objections { return @{ $_[0]{objections} } }

sub object
{
	my ($self, $judge, $where, $text, $more) = @_;
	my $class = $judge;
	return if $self->{seen}{"$class|$where"}++;
	my $player = $self->{player};
	my $said = $player->{said}[-1] // '';
	push @{ $self->{objections} }, { class => $class, where => $where, text => $text, at => $player->now, minute => ($player->now - $player->{start}) / 60, step => $player->{at_step}, after => $said };
	# what the books and we say about it
	my @entries = @{ $self->{books}{entries}{$where} // [] };
	splice @entries, 0, @entries - 14 if @entries > 14;
	my ($c) = $where =~ /^(C\d+)/;
	my @history = $c ? eval { split /\n/, $player->sql("SELECT string_agg(left(concat_ws(' ', to_char(at, 'MM-DD HH24:MI:SS'), event, 'request ' || request_id, 'operation ' || operation_id, before ->> 'quantity', after::text, reason), 220), E'\n' ORDER BY history_id)"
			. " FROM (SELECT h.* FROM spinpanel.history h JOIN spinpanel.customer c USING (customer_id) WHERE c.name = '$c' ORDER BY history_id DESC LIMIT 14) h") } : ();
	@{ $self->{objections}[-1]{books} } = ((map { 'books: ' . brief($_) } @entries), (map { "history: $_" } @history));
	$player->say("*** $class: $where: $text");
	return;
}

# ---- what actors tell

sub wish
{
	my ($self, %wish) = @_;
	if (my $same = $self->{wishes}{ $wish{id} }) { push @{ $same->{again} }, $wish{step}; return $same }
	$wish{asked} = $self->{player}->now;
	$wish{status} = 'queued';
	return $self->{wishes}{ $wish{id} } = \%wish;
}

sub open_wishes { my ($self) = @_; return sort { $a->{id} <=> $b->{id} } grep { !$_->{finished} } values %{ $self->{wishes} } }

sub set
{
	my ($self, $c, %set) = @_;
	my $log = $self->{settings}{$c};
	delete $set{$_} for grep { !defined $set{$_} } keys %set;
	push @$log, { %{ $log->[-1] }, %set, at => $self->{player}->now };
	return;
}

sub rule
{
	my ($self, $c, $sku, %set) = @_;
	my $log = $self->{rules}{"$c|$sku"} //= [ { at => 0 } ];
	if (delete $set{reset}) { $set{default_offer} = undef }
	push @$log, { %{ $log->[-1] }, %set, at => $self->{player}->now };
	return;
}

# during(LOG, FROM, TO): what stood at some time between
sub during
{
	my ($log, $from, $to) = @_;
	my @stood;
	for my $i (0 .. $#$log)
	{
		my $until = $i < $#$log ? $log->[ $i + 1 ]{at} : 9e15;
		push @stood, $log->[$i] if $log->[$i]{at} <= $to && $until >= $from;
	}
	return @stood;
}

sub setting_during { my ($self, $c, $name, $value, $from, $to) = @_; return scalar grep { ($_->{$name} // '') eq $value } during($self->{settings}{$c}, $from, $to) }
sub rules_during { my ($self, $key, $from, $to) = @_; return during($self->{rules}{$key} // [ { at => 0 } ], $from, $to) }

sub disconnected { my ($self, $account) = @_; $self->{disconnected_at}{$account} = $self->{player}->now; return }

# Faults and the like that touch a customer (or everybody) between
sub storms
{
	my ($self, $c, $from, $to) = @_;
	my $player = $self->{player};
	my %partners = map { ($_->{name} => $_->{partners}) } @{ $self->{life}{customers} };
	return grep {
		my $w = $_;
		$w->{from} <= $to && ($w->{until} // 9e15) >= $from
		  && (!defined $w->{c} || $w->{c} eq $c)
		  && (!defined $w->{account} || grep { $_ eq $w->{account} } @{ $partners{$c} // [] })
	} @{ $self->{weather} };
}

# Nothing keeps the worker from serving that customer now, and nothing has for so long
sub fine
{
	my ($self, $c, $from, $to) = @_;
	return 0 if $self->storms($c, $from, $to);
	return 0 if grep { $_->{from} <= $to && ($_->{until} // 9e15) >= $from && ($_->{c} // '') eq $c && $_->{what} !~ /connect|nightly/ } @{ $self->{transactions} };
	return 0 if $self->setting_during($c, 'paused', 'true', $from, $to);
	return 1;
}

# ---- the books, entry by entry

sub watch { my ($self) = @_; return (sub { $self->before($_[0]) }, sub { $self->after($_[0]) }) }

# The operation that an entry belongs to: what we said we did
sub operation
{
	my ($self, $e) = @_;
	return undef unless $e->{ms_request_id};
	my ($op) = $self->{player}->rows("SELECT operation_id, kind, purpose, request_id, adjustment_id, run_id, extract(epoch FROM sent_at) AS sent FROM spinpanel.operation WHERE ms_request_id = '$e->{ms_request_id}'");
	return $op;
}

sub before
{
	my ($self, $e) = @_;
	return unless $self->{ready} && $e->{ours};
	my $action = $e->{action};
	$e->{op} = $self->operation($e);
	if ($action =~ /^(reset_by_omission|rename|next_charge)$/)
	{
		# a schedule of ours is taken back by leaving it out
		my $sub = $self->{books}{subs}{ $e->{subscription} };
		my $own = $action eq 'reset_by_omission' && $e->{op} && $e->{op}{kind} =~ /^set_/ && $e->{op}{kind} ne 'set_quantity' && (!$sub->{plan} || $sub->{plan}{by} eq 'ours');
		$self->object("unchanged: $action", $e->{key}, "a change of ours did more than it should: $action " . brief($e) . ' ' . JSON::PP->new->canonical->encode($e->{before})) unless $own;
		delete $sub->{plan} if $own;
	}
	$e->{purpose} = $e->{op} ? $e->{op}{purpose} : '';
	if (!$e->{op} && $e->{ms_request_id} && $action !~ /wiped|window/)
	{
		my $known = $self->{player}->sql("SELECT count(*) FROM spinpanel.history WHERE ms_request_id = '$e->{ms_request_id}'");
		$self->object('on record: missing', $e->{key}, "nothing of ours explains " . brief($e)) unless $known;
	}
	$self->purchase($e) if $action =~ /^(raise|new|reactivate)$/;
	$self->removal($e) if $action =~ /^(lower|suspend|cancel|schedule|auto_renew|renewal_plan)$/;
	$self->assignment($e) if $action =~ /^(assign|unassign)$/;
	return;
}

sub brief
{
	my ($e) = @_;
	my $user = $e->{after}{upn} // $e->{before}{upn} // '';
	return join ' ', grep { defined && $_ ne '' } $e->{actor}, $e->{action}, $e->{key}, $e->{subscription} ? substr($e->{subscription}, 0, 8) : undef, $user,
	  (defined $e->{before}{quantity} ? "$e->{before}{quantity}>" : '') . ($e->{after}{quantity} // ''), substr($e->{time}, 5, 14);
}

# When a purchase was decided: it may have been carried out later
sub decided { my ($self, $e) = @_; my $sent = $e->{op} && $e->{op}{sent}; return defined $sent && $sent < $e->{at} ? $sent : $e->{at} }

# Distinct people who were waiting for a seat at that time; under auto increment, requests
sub demand
{
	my ($self, $key, $time) = @_;
	my ($c, $part) = split /\|/, $key;
	my %people;
	for my $w (values %{ $self->{wishes} })
	{
		next if $w->{c} ne $c || $w->{sku} ne $part || $w->{kind} ne 'assign';
		next if $w->{asked} > $time + MOMENT || defined $w->{finished} && $w->{finished} < $time - MOMENT;
		next if defined $w->{cancelled} && $w->{cancelled} < $time - MOMENT;
		my $over = 0;    # released again, before anything was bought
		for my $r (values %{ $self->{wishes} })
		{
			$over = 1 if $r->{kind} eq 'release' && $r->{c} eq $c && $r->{sku} eq $part && $r->{id} > $w->{id} && $r->{asked} < $time - MOMENT && $self->same_person($r, $w, $time);
		}
		next if $over;
		my ($id) = $self->{books}->bearers($c, $w->{upn}, $time - MOMENT, $time);
		$people{ $id // $w->{upn} } = $w;
	}
	return \%people;
}

sub same_person
{
	my ($self, $one, $other, $time) = @_;
	return 1 if $one->{upn} eq $other->{upn};
	my %ids = map { ($_ => 1) } $self->{books}->bearers($one->{c}, $one->{upn}, $time, $time);
	return scalar grep { $ids{$_} } $self->{books}->bearers($one->{c}, $other->{upn}, $time, $time);
}

# Seats that were free at Partner Center then and that we can have known of: what others freed or added within the lag
# does not count, nor what ends soon
sub known_free
{
	my ($self, $key, $time) = @_;
	my $pool = $self->{books}->pool($key);
	my $now = $self->{books}->at($key, $time);
	my $free = $now->{active} - $now->{consumed};
	my $since = $time - $self->{lag};
	for my $p (reverse @{ $pool->{past} })
	{
		next if $p->{time} > $time;
		last if $p->{time} < $since;
		my $e = $p->{entry} or last;
		next if $e->{ours};
		$free-- if $e->{action} eq 'unassign';
		$free -= $e->{delta} if ($e->{delta} // 0) > 0;
	}
	# a renewal or an end changes supply: judged by others
	for my $sub ($self->{books}->subs_of($key))
	{
		next if $sub->{status} ne 'active';
		$free -= $sub->{quantity} if $sub->{trial} || $sub->{renewing};
		next if !$sub->{term_end} || $sub->{term_end} - $time > 14 * DAY + HOUR;
		if ($sub->{ends}) { $free -= $sub->{quantity} }
		elsif (defined $sub->{next} && $sub->{next} < $sub->{quantity}) { $free -= $sub->{quantity} - $sub->{next} }
		elsif ($sub->{plan} && defined $sub->{plan}{next} && $sub->{plan}{next} < $sub->{quantity}) { $free -= $sub->{quantity} - $sub->{plan}{next} }
		elsif ($sub->{wiped} && defined $sub->{wiped}{next} && $sub->{wiped}{next} < $sub->{quantity}) { $free -= $sub->{quantity} - $sub->{wiped}{next} }
	}
	return $free;
}

sub purchase
{
	my ($self, $e) = @_;
	my $n = ($e->{after}{quantity} // 0) - ($e->{action} eq 'raise' ? $e->{before}{quantity} : 0);
	return if $n <= 0 && $e->{action} eq 'raise';
	return if $e->{purpose} =~ /^(merge|restore)$/;
	my ($c, $part) = split /\|/, $e->{key};
	my $when = $self->decided($e);
	my $books = $self->{books};
	if ($e->{purpose} eq 'buy_back')
	{
		$self->{bought_back}{ $e->{key} } += $n;
		$self->object('bought back: too much', $e->{key}, "bought back $self->{bought_back}{$e->{key}}, removed " . ($self->{removed}{ $e->{key} } // 0) . ': ' . brief($e))
		  if $self->{bought_back}{ $e->{key} } > ($self->{removed}{ $e->{key} } // 0);
		return;
	}
	# the switch
	my $settings = $self->{settings}{$c};
	if ($settings->[-1]{purchases} eq 'false' && !$self->setting_during($c, 'purchases', 'true', $when - MOMENT, $when))
	{
		$self->object('bought: purchases off', $e->{key}, 'purchases were off: ' . brief($e));
	}
	# the limit
	my ($max) = sort { $b <=> $a } map { $_->{max_seats} // 9e9 } $self->rules_during($e->{key}, $when - MOMENT, $when);
	my $owned = 0;
	$owned += $_->{quantity} for grep { $_->{status} eq 'active' && $_->{id} ne $e->{subscription} } $books->subs_of($e->{key});
	$owned += $e->{after}{quantity};
	$self->object('bought: above max_seats', $e->{key}, "max_seats $max, owned $owned: " . brief($e)) if $owned > $max && $e->{action} ne 'reactivate';
	# the rule's offer
	if ($e->{action} eq 'new' && ($part eq 'SPE_E3' || $part eq 'SPB') && !grep { defined $_->{default_offer} } $self->rules_during($e->{key}, $when - MOMENT, $when))
	{
		$self->object('bought: no offer', $e->{key}, 'no rule names an offer to order: ' . brief($e));
	}
	# the need
	return if grep { $_->{what} =~ /numbers|skus/ && ($_->{rule}{action} // '') =~ /override/ } $self->storms($c, $when - 2 * HOUR, $e->{at});
	my $people = $self->demand($e->{key}, $when);
	my $wanted = scalar keys %$people;
	# somebody may have wanted one when it was decided and not any more when it was done
	my $later = scalar keys %{ $self->demand($e->{key}, $e->{at}) };
	$wanted = $later if $later > $wanted;
	if (grep { $_->{auto_increment} eq 'true' } during($settings, $when - 2 * DAY, $when))
	{
		my $open = grep { $_->{c} eq $c && $_->{sku} eq $part && $_->{kind} eq 'assign' && !(defined $_->{finished} && $_->{finished} < $when - MOMENT) } values %{ $self->{wishes} };
		$self->object('bought: for nobody', $e->{key}, "$n bought, $open asked (auto increment): " . brief($e)) if $n > $open && $e->{action} ne 'reactivate';
		return;
	}
	return if $e->{action} eq 'reactivate';
	my $free = $self->known_free($e->{key}, $when - 0.001);
	my $also = $self->known_free($e->{key}, $e->{at} - 0.001);
	$free = $also if $also < $free;
	$free = 0 if $free < 0;
	if ($wanted == 0) { $self->object('bought: for nobody', $e->{key}, "$n bought, nobody waits for one: " . brief($e)) }
	elsif ($n > $wanted - $free)
	{
		$self->object($free ? 'bought: seats were free' : 'bought: too many', $e->{key}, "$n bought, $wanted wanted, $free were free: " . brief($e));
	}
	return;
}

sub removal
{
	my ($self, $e) = @_;
	my ($c, $part) = split /\|/, $e->{key};
	my $sub = $self->{books}{subs}{ $e->{subscription} };
	my $when = $self->decided($e);
	my $gives = $e->{action} =~ /^(lower|suspend|cancel)$/;
	my $plan = $sub->{plan};
	if ($gives)
	{
		my $n = $e->{action} eq 'lower' ? $e->{before}{quantity} - $e->{after}{quantity} : $e->{before}{quantity};
		$self->{removed}{ $e->{key} } += $n;
	}
	else
	{
		# what a schedule of ours takes at the renewal may come back, too
		my $next = $e->{after}{scheduled_next};
		my $left = !$e->{after}{auto_renew} ? 0 : $next ? $next->{quantity} : $sub->{quantity};
		$self->{removed}{ $e->{key} } += $sub->{quantity} - $left if $left < $sub->{quantity};
	}
	# a person's decision
	if ($plan && $plan->{by} eq 'person' && $e->{purpose} !~ /^(give_back|restore|buy|merge)$/
		&& (defined $plan->{next} || !$plan->{auto_renew}) && $plan->{at} < $when - 10 * MINUTE && !$sub->{extended})
	{
		$self->object('a person decided: undone', $e->{key}, 'a person had decided about it (' . (defined $plan->{next} ? "renews with $plan->{next}" : 'ends') . '): ' . brief($e));
	}
	# switches
	my $takes = $gives || ($e->{action} =~ /schedule|auto_renew|renewal_plan/ && (!$e->{after}{auto_renew} && $e->{before}{auto_renew}
			|| $e->{after}{scheduled_next} && $e->{after}{scheduled_next}{quantity} < $sub->{quantity} && !(defined $sub->{next} && $sub->{next} < $e->{after}{scheduled_next}{quantity})));
	if ($takes && $e->{purpose} =~ /^(remove|schedule)$/)
	{
		my $why;
		$why = 'auto license adjustment was off' unless $self->setting_during($c, 'auto_license_adjustment', 'true', $when - MOMENT, $when);
		$why = 'paused' unless $self->setting_during($c, 'paused', 'false', $when - MOMENT, $when);
		$why = 'excluded' unless grep { ($_->{excluded} // 'false') eq 'false' } $self->rules_during($e->{key}, $when - MOMENT, $when);
		$self->object('removed: switched off', $e->{key}, "$why: " . brief($e)) if $why;
		# rejected, and done all the same
		for my $d (grep { $_->{how} eq 'reject' && ($_->{subscription_id} // '') eq $e->{subscription} && $_->{at} < $when && $_->{at} > $when - 7 * DAY } @{ $self->{decisions} })
		{
			next if $d->{action} eq 'raise' || grep { $_->{how} eq 'approve' && ($_->{subscription_id} // '') eq $e->{subscription} && $_->{at} > $d->{at} } @{ $self->{decisions} };
			my $to = $e->{action} eq 'lower' ? $e->{after}{quantity} : $gives || !$e->{after}{auto_renew} ? 0 : $e->{after}{scheduled_next} ? $e->{after}{scheduled_next}{quantity} : $sub->{quantity};
			# the same once more, or less of it: nobody changed the seats since
			my $like = { reduce => 'lower', cancel => 'cancel', suspend => 'suspend', reduce_at_renewal => 'schedule', end_at_term => 'auto_renew' }->{ $d->{action} } // '';
			next if $e->{action} ne $like || !defined $d->{to_quantity} || $to < $d->{to_quantity} || $e->{before}{quantity} != $d->{from_quantity};
			$self->object('a person decided: rejected, and done', $e->{key}, "$d->{action} $d->{from_quantity}>$d->{to_quantity} was rejected: " . brief($e));
		}
	}
	return;
}

# A licence that nobody asked for, or another person's
sub assignment
{
	my ($self, $e) = @_;
	my $kind = $e->{action} eq 'assign' ? 'assign' : 'release';
	my @may;
	for my $w (values %{ $self->{wishes} })
	{
		next if $w->{c} ne $e->{name} || $w->{sku} ne $e->{part} || $w->{kind} ne $kind;
		next if $w->{asked} > $e->{at} + MOMENT || defined $w->{finished} && $w->{finished} < $e->{at} - 5 * MINUTE;
		next if defined $w->{cancelled} && $w->{cancelled} < $e->{at} - MOMENT;
		# the name counts when it is carried out
		push @may, $w if grep { $_ eq $e->{user} } $self->{books}->bearers($w->{c}, $w->{upn}, $e->{at} - HOUR, $e->{at});
	}
	$self->object("licences: nobody asked for this $e->{action}", $e->{key}, brief($e) . " ($e->{user})") unless @may;
	# the older first
	return if $kind ne 'assign' || !@may;
	my ($mine) = sort { $a->{id} <=> $b->{id} } @may;
	for my $w (values %{ $self->{wishes} })
	{
		next if $w->{c} ne $e->{name} || $w->{sku} ne $e->{part} || $w->{kind} ne 'assign' || $w->{finished} || $w->{id} >= $mine->{id} || !$w->{approval};
		next if $mine->{asked} < $w->{asked} + HOUR || !$self->{books}->steady_bearer($w->{c}, $w->{upn}, $w->{asked}, $e->{at});
		next if $self->location_missing($w, $e->{at});
		next if $w->{approval_seen} > $e->{at} - MINUTE;
		$self->object('requests: overtaken', $e->{key}, "request $w->{id} of $w->{upn} waits for an approval since " . Player::iso($w->{approval_seen}) . ", and request $mine->{id}, asked later, is served: " . brief($e));
	}
	return;
}

sub after
{
	my ($self, $e) = @_;
	return unless $self->{ready} && $e->{subscription};
	my $sub = $self->{books}{subs}{ $e->{subscription} };
	# a person's schedule that we set again stays a person's
	if ($e->{ours} && $e->{action} =~ /^(schedule|renewal_plan|auto_renew)$/ && $sub->{plan} && $sub->{wiped} && $sub->{wiped}{by} eq 'person' && $sub->{wiped}{wiped_by} eq 'ours')
	{
		$sub->{plan}{by} = 'person';
		$sub->{plan}{origin} = $sub->{wiped}{origin} // { next => $sub->{wiped}{next}, quantity => $sub->{wiped}{quantity} };
		$sub->{plan}{restored} = 1;
		delete $sub->{wiped};
	}
	elsif ($e->{action} =~ /^(schedule|renewal_plan|auto_renew)$/) { delete $sub->{wiped} }
	delete $sub->{wiped} if $e->{action} =~ /^(renew|cancel|disable|expire|suspend|extended_term|delete)$/;
	# shortages: whose act began it?
	my $pool = $self->{books}->pool($e->{key});
	my $short = $pool->{consumed} - $pool->{active};
	my $grew = ($e->{delta} // 0) < 0 && $short > 0;
	return unless $grew;
	my $plan = $sub->{last_plan};
	my $whose = $e->{ours} ? 'ours'
	  : $e->{action} =~ /^(renew|disable|expire|extended_term)$/ && $plan && $plan->{by} eq 'ours' && !$sub->{wiped} ? 'our schedule'
	  : 'a person';
	my $debt = $self->{debts}{ $e->{key} };
	if ($whose eq 'a person') { $self->{debts}{ $e->{key} } //= { person => 1 }; return }
	return if $debt && $debt->{person};
	my $part = -$e->{delta} < $short ? -$e->{delta} : $short;
	$self->{debts}{ $e->{key} } = { since => $e->{at}, short => $part, whose => $whose, entry => $e, fine => 0, looked => $e->{at} };
	return;
}

# ---- at each stop

sub look
{
	my ($self) = @_;
	my $player = $self->{player};
	my $books = $self->{books};
	$self->requests;
	$books->read($self->watch);
	$books->refresh;
	my $now = $player->now;
	my @waiting = @{ $self->{after_race} };
	for my $w (@waiting)
	{
		my @done = grep { $_->{entry} && $_->{entry}{ours} && $_->{entry}{seq} > $w->{seq} && ($_->{entry}{delta} // 0) < 0 } map { @{ $_->{past} } } grep { $_->{key} =~ /^\Q$w->{c}\E\|/ } $books->pools_of;
		next unless @done;
		$w->{code}->();
		@{ $self->{after_race} } = grep { $_ != $w } @{ $self->{after_race} };
	}
	my $passed = $now - ($self->{looked} // $now);
	for my $key (sort keys %{ $self->{debts} })
	{
		my $debt = $self->{debts}{$key};
		my $pool = $books->pool($key);
		if ($pool->{consumed} <= $pool->{active}) { delete $self->{debts}{$key}; next }
		next if $debt->{person};
		my ($c) = split /\|/, $key;
		# somebody must be there to raise, and able to read
		my @raisable = grep { $_->{status} eq 'active' && !$_->{trial} && (!$_->{ends} || $_->{extended}) && !$_->{renewing} && $_->{quantity} < 300 } $books->subs_of($key);
		$debt->{fine} += since($passed, $now, $debt->{since}) if @raisable && $books->{access}{$c} && $self->fine($c, $now - HOUR, $now) && !$self->{gone}{$c};
		my $limit = $debt->{whose} eq 'ours' ? HOUR + $self->{lag} + 40 * MINUTE : 4 * HOUR + $self->{lag};
		next if $debt->{fine} < $limit;
		$self->object("shortage: $debt->{whose}", $key, sprintf('%d holders, %d seats since %s, began with %s', $pool->{consumed}, $pool->{active}, Player::iso($debt->{since}), brief($debt->{entry})));
		$debt->{person} = 1;
	}
	# schedules of persons
	for my $sub (values %{ $books->{subs} })
	{
		next unless $sub->{status} eq 'active';
		my $c = $sub->{customer};
		if ($sub->{wiped} && $sub->{wiped}{by} eq 'person' && $sub->{wiped}{wiped_by} eq 'ours' && $sub->{auto_renew} && defined $sub->{wiped}{next})
		{
			$sub->{wiped}{fine} += since($passed, $now, $sub->{wiped}{wiped_at}) if $self->fine($c, $now - HOUR, $now);
			$self->object('a person decided: schedule lost', "$c|$sub->{part}", "a person's schedule ($sub->{wiped}{next}) was wiped by ours and is not set again: " . substr($sub->{id}, 0, 8))
			  if ($sub->{wiped}{fine} // 0) > 3 * HOUR;
		}
		my $plan = $sub->{plan};
		if ($plan && $plan->{restored} && $plan->{origin} && defined $plan->{origin}{next} && defined $sub->{next})
		{
			my $expected = $plan->{origin}{next} + $sub->{quantity} - $plan->{origin}{quantity};
			$sub->{off} = $sub->{next} != $expected && $self->fine($c, $now - HOUR, $now) ? ($sub->{off} // 0) + $passed : 0;
			$self->object('a person decided: schedule changed', "$c|$sub->{part}", "a person's schedule stands at $sub->{next}, should be $expected") if $sub->{off} > 3 * HOUR;
		}
	}
	$self->patience($passed);
	$self->{looked} = $now;
	return;
}

# So much of the time that passed lies after that moment
sub since { my ($passed, $now, $from) = @_; return $now - $from < $passed ? $now - $from : $passed }

# Requests: what became of them
sub requests
{
	my ($self) = @_;
	my @open = $self->open_wishes;
	@open or return;
	my $ids = join ',', map { $_->{id} } @open;
	my %row = map { ($_->{request_id} => $_) } $self->{player}->rows("SELECT q.request_id, q.status, q.error, q.seat_bought, extract(epoch FROM q.finished_at) AS finished, q.adjustment_id, q.not_before,"
		. " (SELECT a.status FROM spinpanel.adjustment a WHERE a.adjustment_id = q.adjustment_id) AS approval FROM spinpanel.license_request q WHERE q.request_id IN ($ids)");
	for my $w (@open)
	{
		my $row = $row{ $w->{id} };
		if (!$row) { $self->object('requests: vanished', "$w->{c}|$w->{sku}", "request $w->{id} is gone before it ended"); $w->{finished} = $self->{player}->now; next }
		$w->{patience} = 0 if $w->{status} ne $row->{status} || ($w->{error} // '') ne ($row->{error} // '');
		$w->{status} = $row->{status};
		$w->{error} = $row->{error};
		my $waits = ($row->{approval} // '') eq 'awaiting_approval';
		$w->{approval_seen} //= $self->{player}->now if $waits;
		delete $w->{approval_seen} unless $waits;
		$w->{approval} = $waits;
		$w->{approval_status} = $row->{approval};
		$w->{patience} = 0 if $waits;
		if ($row->{status} =~ /^(done|failed|cancelled)$/) { $w->{finished} = $row->{finished} // $self->{player}->now; push @{ $self->{to_judge} }, $w }
	}
	return unless $self->{to_judge};
	$self->{books}->read($self->watch);
	for my $w (@{ delete $self->{to_judge} })
	{
		$self->finished($w);
		$self->last_wish($w);
	}
	return;
}

sub location_missing
{
	my ($self, $w, $time) = @_;
	my ($id) = $self->{books}->bearers($w->{c}, $w->{upn}, $time, $time);
	return 0 unless $id;
	my $log = $self->{locations}{$id} or return 0;
	return scalar grep { !defined $_->[1] } @$log;
}

sub finished
{
	my ($self, $w) = @_;
	my $books = $self->{books};
	my ($c, $part, $key) = ($w->{c}, $w->{sku}, "$w->{c}|$w->{sku}");
	my $end = $w->{finished};
	my @ids = $books->bearers($c, $w->{upn}, $end - 10 * MINUTE, $end);
	if ($w->{status} eq 'done' && $w->{kind} eq 'assign')
	{
		# the person of that name held it when we looked; the emulator's clock may have been moved an instant before ours
		my $seen = $self->{player}->now > $end ? $self->{player}->now : $end;
		$self->object('requests: done, not held', $key, "request $w->{id} is done, and $w->{upn} holds nothing")
		  unless grep { $books->held($_, $part, $end - 10 * MINUTE, $seen + MOMENT) } @ids;
	}
	elsif ($w->{status} eq 'done' && $w->{kind} eq 'release')
	{
		my @hold = grep { my $h = $books->holds_now($_, $part); $h && !$h->{group} && $h->{from} < $end - 10 * MINUTE } $books->bearers($c, $w->{upn}, $end, $end);
		$self->object('requests: released, held', $key, "release $w->{id} is done, and $w->{upn} holds it") if @hold;
	}
	elsif ($w->{status} eq 'failed') { $self->failed($w) }
	return;
}

# A request that failed although nothing stood in its way
sub failed
{
	my ($self, $w) = @_;
	my $books = $self->{books};
	my ($c, $part, $key) = ($w->{c}, $w->{sku}, "$w->{c}|$w->{sku}");
	my ($from, $to) = ($w->{asked}, $w->{finished});
	my $error = $w->{error} // '';
	return if $self->storms($c, $from, $to) && $to - $from > DAY;                       # patience has an end
	return if grep { $_->{what} =~ /gone|disconnected|numbers/ } $self->storms($c, $from - HOUR, $to);
	my @ever = grep { my $id = $_; grep { $_->[2] eq $w->{upn} || $id eq $w->{upn} } @{ $books->{names}{$id} // [] } } keys %{ $books->{users}{$c} };
	my $bearer = $books->steady_bearer($c, $w->{upn}, $from < $to - HOUR ? $from : $to - HOUR, $to);
	if ($w->{kind} eq 'release')
	{
		return if !@ever || grep { my $h = $books->{holds}{"$_|$part"}; $h && grep { $_->{group} } @$h } @ever;
		$self->object('requests: release failed', $key, "release $w->{id} of $w->{upn} failed: $error") ;
		return;
	}
	return unless $bearer;
	return if $self->location_missing($w, $to);
	# another licence that excludes it, unless that one was asked back first
	for my $other ($part eq 'SPB' ? ('SPE_E3') : $part eq 'SPE_E3' ? ('SPB') : ())
	{
		next unless $books->held($bearer, $other, $to - 10 * MINUTE, $to);
		my @back = grep { $_->{kind} eq 'release' && $_->{c} eq $c && $_->{sku} eq $other && $_->{id} < $w->{id} && $_->{upn} eq $w->{upn} && $_->{asked} > $from - MINUTE } values %{ $self->{wishes} };
		return unless @back && !grep { $_->{status} eq 'failed' } @back;
		$self->object('requests: upgrade failed', $key, "request $w->{id} of $w->{upn} failed (the other licence was to be taken back first): $error");
		return;
	}
	if ($part eq 'EXCHANGEARCHIVE_ADDON' && !$books->held($bearer, 'SPB', $to - 10 * MINUTE, $to))
	{
		return unless grep { $_ eq 'SPB' } @{ $w->{together} // [] };
		my ($base) = grep { $_->{step} eq $w->{step} && $_->{sku} eq 'SPB' && $_->{kind} eq 'assign' } values %{ $self->{wishes} };
		return if !$base || $base->{status} eq 'failed';
		$self->object('requests: add-on failed', $key, "request $w->{id} of $w->{upn} failed (its base was asked for with it): $error");
		return;
	}
	my $free = $self->known_free($key, $to) - $self->older($w);
	# under auto increment the stock is not for requests
	$free = 0 if $free > 0 && $self->setting_during($c, 'auto_increment', 'true', $from, $to);
	if ($free <= 0)
	{
		return if $self->setting_during($c, 'purchases', 'false', $from - MOMENT, $to);
		my $owned = 0;
		$owned += $_->{quantity} for grep { $_->{status} eq 'active' } $books->subs_of($key);
		return if grep { defined $_->{max_seats} && $_->{max_seats} <= $owned } $self->rules_during($key, $from - MOMENT, $to);
		return if grep { $_->{how} eq 'reject' && $_->{c} eq $c && $_->{at} >= $from - MOMENT } @{ $self->{decisions} };
		my @raisable = grep { $_->{status} eq 'active' && !$_->{trial} && (!$_->{ends} || $_->{extended}) && $_->{quantity} < 300 && !($_->{plan} && $_->{plan}{by} eq 'person' && !$_->{plan}{auto_renew}) } $books->subs_of($key);
		my $offer = !grep { !defined $_->{default_offer} } $self->rules_during($key, $from - MOMENT, $to);
		return unless @raisable || $offer;
		my $room = 300 - $owned;
		return if $part eq 'SPB' && $room <= $self->older($w);
		# somebody else took what was bought
		my @taken = grep { $_->{entry} && $_->{entry}{action} eq 'assign' && !$_->{entry}{ours} && $_->{time} >= $from } @{ $books->pool($key)->{past} };
		return if @taken;
	}
	my $kind = $error =~ /does not exist/ ? 'no such user' : $error =~ /many attempts|given up|503|500|temporar|unavailable|pending/i ? 'in an outage' : 'nothing in its way';
	$self->object("requests: failed, $kind", $key, "request $w->{id} of $w->{upn} failed: $error" . ($free > 0 ? " ($free seats were free)" : ''));
	return;
}

# Requests of the pool that were asked before and wait, too
sub older { my ($self, $w) = @_; return scalar grep { $_->{c} eq $w->{c} && $_->{sku} eq $w->{sku} && $_->{kind} eq 'assign' && !$_->{finished} && $_->{id} < $w->{id} } values %{ $self->{wishes} } }

# Of several wishes about one person and SKU the last one decides
sub last_wish
{
	my ($self, $w) = @_;
	my $books = $self->{books};
	my ($id) = $books->bearers($w->{c}, $w->{upn}, $self->{player}->now, $self->{player}->now);
	return unless $id;
	my @all = sort { $a->{id} <=> $b->{id} } grep { $_->{c} eq $w->{c} && $_->{sku} eq $w->{sku} && ($_->{upn} eq $w->{upn} || $_->{upn} eq lc $id) && $_->{asked} > $w->{asked} - 7 * DAY } values %{ $self->{wishes} };
	return if @all < 2 || grep { !$_->{finished} } @all;
	my ($last) = grep { $_->{status} eq 'done' } reverse @all;
	return unless $last && $last == $all[-1];
	# nobody else interfered since the first of these that ran side by side
	my $begun = $last->{asked};
	for my $o (reverse @all) { $begun = $o->{asked} if $o->{finished} >= $begun - MOMENT && $o->{asked} < $begun }
	my $latest = 0;
	for ($last, @all) { $latest = $_->{finished} if $_->{finished} > $latest }
	for my $h (@{ $books->{holds}{"$id|$w->{sku}"} // [] })
	{
		return if $h->{group} || $h->{from} >= $begun && $h->{by} ne 'ours' || defined $h->{to} && $h->{to} >= $begun && ($h->{ended_by} // '') ne 'ours';
	}
	return unless $books->steady_bearer($w->{c}, $w->{upn}, $begun, $self->{player}->now);
	my $holds = $books->holds_now($id, $w->{sku}) ? 1 : 0;
	return if $holds == ($last->{kind} eq 'assign' ? 1 : 0);
	$self->object('requests: the last wish does not stand', "$w->{c}|$w->{sku}", "the last wish about $w->{upn} was request $last->{id} ($last->{kind}, done); in the end the user " . ($holds ? 'holds it' : 'holds nothing') . ': '
		. join(', ', map { "$_->{id} $_->{kind} $_->{status}" } @all));
	return;
}

# Asking was refused: was it true?
sub refused
{
	my ($self, $step, $kind, $c, $upn, $sku, $error, $count, $same) = @_;
	my $player = $self->{player};
	if ($error->{state} eq '55P03' && !grep { defined $_->{max_seats} } @{ $self->{rules}{"$c|$sku"} // [] })
	{
		$self->object('asking: waits for a transaction', "$c|$sku", "$kind $upn: $error->{message}");
	}
	return unless $kind eq 'assign' && $error->{state} =~ /^(55000|53400)$/ && $error->{message} =~ /no seat|max_seats/;
	my $books = $self->{books};
	my $key = "$c|$sku";
	my $now = $player->now;
	return if grep { $_->{what} =~ /numbers/ } $self->storms($c, $now - 2 * DAY, $now);
	# under auto increment the stock is not for requests
	return if $self->setting_during($c, 'auto_increment', 'true', $now - MOMENT, $now);
	my $read = $player->sql("SELECT extract(epoch FROM min(a.subscribed_skus_read_at)) FROM spinpanel.customer_account a JOIN spinpanel.customer c USING (customer_id) WHERE c.name = " . Player::quote($c) . ' AND a.gone_at IS NULL');
	return if $read eq '' || $now - $read > 3 * DAY;
	$books->read($self->watch);
	my $free = $self->known_free($key, $read);
	my $before = $books->at($key, $read - $self->{lag});
	$free = $before->{active} - $before->{consumed} if $before->{active} - $before->{consumed} < $free;
	for my $p (@{ $books->pool($key)->{past} })
	{
		next if $p->{time} <= $read || !$p->{entry} || !$p->{entry}{ours};
		$free += $p->{entry}{action} eq 'unassign' ? 1 : $p->{entry}{action} eq 'assign' ? -1 : 0;
		$free += $p->{entry}{delta} // 0;
	}
	# what was asked for earlier, in this transaction too
	my $open = 0;
	for my $w ($self->open_wishes) { next if $w->{c} ne $c || $w->{sku} ne $sku; $open += $w->{kind} eq 'assign' ? 1 : -1 if $w->{kind} eq 'assign' || $w->{asked} <= $now }
	for my $s (@{ $same // [] }) { $open += $s->[0] eq 'assign' ? 1 : -1 if $s->[2] eq $sku }
	for my $tx (grep { !$_->{until} } @{ $self->{transactions} }) { $open++ if ($tx->{c} // '') eq $c }
	$free -= $open;
	# seats that others took since we read are not ours to see; they would have been tried
	my $taken = grep { $_->{time} > $read && $_->{entry} && !$_->{entry}{ours} && $_->{entry}{action} eq 'assign' } @{ $books->pool($key)->{past} };
	return if ($count // 1) > $free - $taken && !$self->may_extend($key, $read, $error);
	$self->object($error->{message} =~ /none can be bought/ && $free - $taken < 1 ? 'asking: refused, extended terms' : 'asking: refused, seats were free', $key, "$upn: $error->{state} $error->{message} ($free free)");
	return;
}

sub may_extend
{
	my ($self, $key, $read, $error) = @_;
	return 0 unless $error->{message} =~ /none can be bought/;
	return scalar grep { $_->{status} eq 'active' && $_->{extended} && !$_->{renewing} && ($_->{renewed_at} // 9e15) < $read - HOUR && $_->{quantity} < 250 && !($_->{plan} && $_->{plan}{cancel}) } $self->{books}->subs_of($key);
}

# How long requests wait while nothing is wrong
sub patience
{
	my ($self, $passed) = @_;
	my $now = $self->{player}->now;
	for my $w ($self->open_wishes)
	{
		my $key = "$w->{c}|$w->{sku}";
		if (!$self->fine($w->{c}, $now - 20 * MINUTE, $now) || $self->{books}->pool($key)->{active} < $self->{books}->pool($key)->{consumed}) { $w->{patience} = 0; next }
		if (grep { $_->{renewing} || $_->{pending} } $self->{books}->subs_of($key)) { $w->{patience} = 0; next }
		if ($w->{approval})
		{
			# a free seat that a night has seen
			my $free = $self->known_free($key, $now);
			my $steady = $self->{books}->at($key, $now - 26 * HOUR);
			$free = $steady->{active} - $steady->{consumed} if $steady->{active} - $steady->{consumed} < $free;
			$w->{free_for} = $free > $self->older($w) && !$self->setting_during($w->{c}, 'auto_increment', 'true', $w->{asked}, $now) && $self->setting_during($w->{c}, 'partner_center_sync', 'true', $now - 2 * DAY, $now) ? ($w->{free_for} // 0) + since($passed, $now, $w->{approval_seen}) : 0;
			$self->object('requests: waits for an approval, seats are free', $key, "request $w->{id} of $w->{upn} waits, $free seats are free") if $w->{free_for} > 26 * HOUR;
			next;
		}
		$w->{patience} = ($w->{patience} // 0) + since($passed, $now, $w->{asked});
		my $limit = $self->{lag} + 2 * $self->{order_delay} + 3 * HOUR;
		next if $w->{patience} < $limit;
		my @open = grep { !$_->{until} || $_->{until} > $now - HOUR } @{ $self->{transactions} };
		if (($w->{error} // '') =~ /waits for approval/)
		{
			$self->object('requests: waits for a decision that was made', $key, "request $w->{id} of $w->{upn} is $w->{status}, $w->{error}; that adjustment is " . ($w->{approval_status} // 'gone'));
			next;
		}
		$self->object(@open ? 'requests: stuck behind a transaction' : 'requests: stuck', $key, "request $w->{id} ($w->{kind} $w->{upn}, asked " . Player::iso($w->{asked}) . ") is $w->{status}" . (defined $w->{error} ? ": $w->{error}" : '')
			. (@open ? '; open: ' . join(', ', map { $_->{what} } @open) : ''));
	}
	# transactions of managers: others must be served at once, on the real clock
	for my $w ($self->open_wishes)
	{
		my @open = grep { !$_->{until} && $_->{what} =~ /connect|nightly|set|pause/ } @{ $self->{transactions} };
		next unless @open && !$w->{approval} && $self->fine_but_for_managers($w, $now);
		next if $now - $w->{asked} < 25 * MINUTE + $self->{lag} + 2 * $self->{order_delay};
		next if grep { $_->{renewing} } $self->{books}->subs_of("$w->{c}|$w->{sku}");
		$self->object('requests: stuck behind a transaction', "$w->{c}|$w->{sku}", "request $w->{id} ($w->{kind} $w->{upn}) is $w->{status} while a manager's transaction is open: " . join(', ', map { $_->{what} } @open));
	}
	# approved and carried out, and not ended
	for my $d (grep { $_->{how} eq 'approve' && !$_->{run_id} && !$_->{told} && $_->{at} < $now - 6 * HOUR } @{ $self->{decisions} })
	{
		next unless $self->fine($d->{c}, $now - 6 * HOUR, $now);
		my ($row) = $self->{player}->rows("SELECT a.status, a.error, (SELECT count(*) FROM spinpanel.license_request q WHERE q.adjustment_id = a.adjustment_id AND q.status NOT IN ('done', 'failed', 'cancelled')) AS open FROM spinpanel.adjustment a WHERE a.adjustment_id = $d->{adjustment_id}");
		$d->{told} = 1;
		$self->object('approvals: carried out, not ended', $d->{c}, "adjustment $d->{adjustment_id} ($d->{action}) was approved " . Player::iso($d->{at}) . " and is $row->{status}, no request waits") if $row && $row->{status} eq 'queued' && !$row->{open};
	}
	return;
}

sub fine_but_for_managers
{
	my ($self, $w, $now) = @_;
	return 0 if $self->storms($w->{c}, $w->{asked}, $now);
	return 0 if grep { ($_->{c} // '') eq $w->{c} && $_->{what} =~ /assign|release|bulk|set|pause/ } grep { ($_->{until} // 9e15) >= $w->{asked} } @{ $self->{transactions} };
	return !$self->setting_during($w->{c}, 'paused', 'true', $w->{asked}, $now);
}

# ---- the end

sub verdict
{
	my ($self) = @_;
	my $books = $self->{books};
	my $player = $self->{player};
	$self->look;
	my $now = $player->now;
	# every request ended, or a person has to decide
	for my $w ($self->open_wishes)
	{
		next if $w->{approval};
		next if ($self->{calm} // $now) > $now - 3 * DAY || $w->{asked} > $self->{calm};
		next if $self->{lag} > 2 * HOUR;
		my @own = grep { $_->{status} eq 'active' && !$_->{ends} } $books->subs_of("$w->{c}|$w->{sku}");
		$self->object('requests: never ends', "$w->{c}|$w->{sku}", "request $w->{id} ($w->{kind} $w->{upn}) is $w->{status} days after everything was well" . (defined $w->{error} ? ": $w->{error}" : ', and says nothing'));
	}
	# the other way round: what we say that we did, is in the books
	my %sent = map { (lc($_->{ms_request_id} // '') => 1) } @{ $player->emulator('GET', 'ledger') };
	for my $op ($player->rows("SELECT operation_id, kind, seats, ms_request_id, http_status FROM spinpanel.operation WHERE status = 'done' AND seats <> 0 AND ms_request_id IS NOT NULL"))
	{
		$self->object('on record: never done', $op->{kind}, "operation $op->{operation_id} says that it changed $op->{seats} seats, the books know nothing of it") unless $sent{ lc $op->{ms_request_id} };
	}
	$self->bill;
	return;
}

# After the last nights: seats that nobody uses and that could be given back
sub bill
{
	my ($self) = @_;
	my $books = $self->{books};
	my $now = $self->{player}->now;
	delete $books->{refreshed};
	$books->refresh;
	for my $pool ($books->pools_of)
	{
		my ($c, $part) = split /\|/, $pool->{key};
		my $unused = $pool->{active} - $pool->{consumed};
		next if $unused <= 0 || $pool->{consumed} == 0 || !$books->{listed}{$c};
		my @subs = grep { $_->{status} !~ /deleted|disabled|expired/ } $books->subs_of($pool->{key});
		# persons' decisions, renewals under way, what changed these days: others look at that
		next if grep { $_->{status} eq 'suspended' || $_->{trial} || $_->{renewing} || $_->{pending} || $_->{parent} || ($_->{plan} && $_->{plan}{by} eq 'person') || $_->{extended} || $_->{wiped} } @subs;
		next if grep { !$_->{auto_renew} && !($_->{plan} && $_->{plan}{by} eq 'ours') } @subs;
		next if grep { ($_->{renewed_at} // 0) > $now - 3 * DAY || ($_->{term_end} // 9e15) < $now + 3 * DAY || ($_->{created} // 0) > $now - 3 * DAY } @subs;
		next if grep { $_->{time} > $now - 3 * DAY && $_->{entry} && !$_->{entry}{ours} } @{ $pool->{past} };
		next if grep { $_->{how} eq 'reject' && $_->{c} eq $c && $_->{at} > $now - 12 * DAY } @{ $self->{decisions} };
		next if grep { $_->{c} eq $c && $_->{sku} eq $part } $self->open_wishes;
		next if $self->storms($c, $now - 3.5 * DAY, $now);
		next if grep { $_->{c} eq $c && ($_->{finished} // $now) > $now - 3.5 * DAY } values %{ $self->{wishes} };
		my $can = 0;
		for my $sub (@subs)
		{
			next unless $sub->{status} eq 'active';
			if ($sub->{commerce} eq 'legacy') { $can += $sub->{quantity} - 1; next }
			my $back = 0;
			my $when = 0;
			for my $b (@{ $sub->{batches} })
			{
				my $until = Books::seconds($b->{until});
				# three nights could have given it back
				$back += $b->{quantity} if $until > $now + 26 * HOUR;
			}
			$back = $sub->{quantity} - 1 if $back > $sub->{quantity} - 1;
			$can += $back;
		}
		my $least = $unused < $can ? $unused : $can;
		next if $least <= 0;
		my $why = $self->{player}->sql("SELECT string_agg(coalesce(blocked_by, 'no reason') || ', reducible ' || reducible_now, '; ') FROM spinpanel.excess_seats(" . Player::quote(Player::domain($c)) . ") WHERE part_number = '$part'");
		$self->object('bill: seats stay', $pool->{key}, "$unused of $pool->{active} seats are unused, $least could be given back these three nights ($why)");
	}
	return;
}

1;
